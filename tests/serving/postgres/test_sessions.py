"""What needs one session for longer than a statement: behind a pooler only a transaction has one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from registry.core import database
from tests.clusters import Cluster
from tests.serving.postgres.conftest import together

ROWS = 2_000


def test_a_long_list_is_read_whole_while_others_ask() -> None:
    from django.db import connection

    from serving.access.models import Batch

    Batch.objects.all().delete()  # those of other tests
    Batch.objects.bulk_create([Batch(id=f"{n:032d}", time=datetime.now(UTC)) for n in range(ROWS)])
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            Batch.objects.count()
        connection.close()

    others = [threading.Thread(target=ask) for _ in range(6)]
    for one in others:
        one.start()
    try:
        found = [row.id for row in database.stream(Batch.objects.order_by("id"), 50)]
    finally:
        stop.set()
        for one in others:
            one.join()
    assert found == [f"{n:032d}" for n in range(ROWS)]
    Batch.objects.all().delete()


def test_tables_are_made_by_several_at_once_and_no_lock_stays(postgres: Cluster) -> None:
    def make() -> None:
        from django.db import connection

        database.migrate()
        connection.close()

    together(make, 4)
    assert postgres.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
