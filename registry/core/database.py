"""The operational database, through Django's ORM: SQLite by default, PostgreSQL by a setting.

`setup()` configures Django, not a settings module: importing visionloop configures nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core.database_address import check_driver, database_entry
from registry.core.errors import MissingService, StorageError, first_line
from registry.core.settings import Settings, settings

if TYPE_CHECKING:
    from django.db.models import QuerySet

logger = logging.getLogger("visionloop.database")

APPS = ("monitoring.log", *(f"serving.{room}" for room in ("releases", "access", "tasks", "idempotency", "webhooks")))
"""The packages with tables, by name: a Bento contains only those that its service uses."""

_MIGRATION_LOCK = 0x76697364  # any number that no other program locks

_lock = threading.Lock()


def setup(config: Settings | None = None, **more: Any) -> None:
    """Configures Django once per process. Call it before importing a module with tables.

    Args:
        more: further settings of Django, for a process that needs them (`serving.web.configuration`). Apps in
            INSTALLED_APPS come after those of `APPS`.

    Raises:
        SettingsError: as `database_entry`; PostgreSQL's driver is not installed, or does not know an option.
    """
    import django
    from django.conf import settings as django_settings

    with _lock:
        if django_settings.configured:
            return
        chosen = config or settings()
        entry = database_entry(chosen.database)
        if entry["ENGINE"].endswith("sqlite3"):
            Path(entry["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        else:
            check_driver(entry["OPTIONS"])
        apps = [app for app in APPS if find_spec(app)]
        options = {
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "USE_TZ": True,
            "TIME_ZONE": "UTC",
            "SECRET_KEY": secrets.token_hex(32),  # signs nothing: there are no sessions or cookies
            "LOGGING_CONFIG": None,
            "ROOT_URLCONF": "serving.api.routes",  # only the router looks it up
            # The router limits bodies itself, and never writes them to disk.
            "DATA_UPLOAD_MAX_MEMORY_SIZE": None,
            "FILE_UPLOAD_MAX_MEMORY_SIZE": chosen.max_upload_mb * 2**20,
            **more,
            "DATABASES": {"default": entry},
            "INSTALLED_APPS": [*apps, *more.get("INSTALLED_APPS", ())],
        }
        django_settings.configure(**options)
        # The ORM refuses to run under an event loop. Our calls there are short, and run in threads.
        os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        django.setup()


def renew_connection() -> None:
    """Closes this thread's connection if the database has dropped it, e.g. by a restart; the next query opens another.

    For threads that live long. Costs a round trip.
    """
    setup()
    from django.db import connection as current

    if current.connection is not None and not current.is_usable():
        current.close()


def close_connection() -> None:
    """Closes this thread's connection, whatever state it is in; the next query opens another."""
    from django.db import connection

    with suppress(Exception):
        connection.close()


def change_marker() -> tuple[object, int] | None:
    """A value that stays equal until another connection writes into the database; None for PostgreSQL, which has none.

    SQLite's is https://sqlite.org/pragma.html#pragma_data_version and costs 0.01 ms. Writes through this thread's own
    connection do not change it.
    """
    from django.db import connection as current

    if current.vendor != "sqlite":
        return None
    with current.cursor() as cursor:
        version = cursor.execute("PRAGMA data_version").fetchone()[0]
    return current.connection, version  # the number means something on one connection only


def migrate() -> None:
    """Creates and updates the tables. Safe to repeat, and to run in several processes at once.

    Raises:
        MissingService: the database does not answer.
        StorageError: SQLite cannot create or write its file; PostgreSQL lets this user create no tables.
    """
    setup()
    import time

    from django.core.management import call_command
    from django.db import DatabaseError, OperationalError
    from django.db import connection as current

    for attempt in range(5):
        try:
            with _migration_lock():
                call_command("migrate", verbosity=0, interactive=False)
            return
        except OperationalError as error:
            current.close()
            text = first_line(error)
            if "unable to open" in text or "readonly" in text or "disk" in text:
                raise StorageError(
                    f"the operational database cannot be written: {text}",
                    expected=f"a writable {settings().var}",
                    fix="free some space or fix the rights, then run the same command again",
                ) from error
            if attempt == 4:
                raise MissingService(
                    f"the operational database does not answer: {text}",
                    expected="a database at database_url",
                    fix="start it, or correct VISIONLOOP_DATABASE_URL",
                ) from error
            time.sleep(0.5 * (attempt + 1))
        except DatabaseError as error:
            current.close()
            text = first_line(error)
            if "permission denied" in text:
                raise StorageError(
                    f"the operational database lets this user create no tables: {text}",
                    expected="a user that owns its database",
                    fix="`ALTER DATABASE ... OWNER TO ...`; docs/production.md has the commands",
                ) from error
            # Two processes created the same table in SQLite at once: the second one tries again.
            if attempt == 4:
                raise
            time.sleep(0.5 * (attempt + 1))


def wait_until_migrated(ended: threading.Event | None = None) -> None:
    """Repeats `migrate` until the database answers or `ended` is set.

    For processes that a supervisor would give up if they kept ending.

    Raises:
        StorageError: as `migrate`.
    """
    ended, waiting = ended or threading.Event(), False
    renew_connection()
    while True:
        try:
            migrate()
        except MissingService as error:
            if not waiting:
                logger.warning("%s; waiting for it", error.found)
            waiting = True
        else:
            if waiting:
                logger.warning("the operational database answers again")
            return
        if ended.wait(1.0):
            return


def stream(rows: QuerySet[Any], size: int) -> Iterator[Any]:
    """The rows of a query, `size` at a time, so that memory stays bounded; close it if you stop before its end.

    PostgreSQL keeps the rest in a cursor. Behind a pooler (PgBouncer, `pool_mode = transaction`) a cursor lives only as
    long as its transaction, so there is one around it.
    """
    from django.db import connection as current
    from django.db import transaction

    with transaction.atomic() if current.vendor == "postgresql" else nullcontext():
        yield from rows.iterator(chunk_size=size)


def is_away(error: BaseException) -> bool:
    """Whether a query failed because the database does not answer, and not because of the query."""
    from django.db import InterfaceError, OperationalError

    return isinstance(error, InterfaceError | OperationalError)


@contextmanager
def _migration_lock() -> Iterator[None]:
    """In PostgreSQL, two processes that create one table fail late; with this lock the second one waits."""
    from django.db import connection as current
    from django.db import transaction

    if current.vendor != "postgresql":
        yield
        return
    # A lock of the transaction, and not of the session: behind a pooler, statements outside of one may have
    # another session each, and nobody could release the lock. The end of the transaction does.
    with transaction.atomic(), current.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        yield
