"""`visionloop migrate-db`: every row arrives, or none does."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.cli import execute
from flows.installation import moving, tables
from flows.stack.control import Stack
from registry.core.errors import DataError, MissingService, Refused, SettingsError
from registry.core.settings import settings
from tests.clusters import Cluster
from tests.databases import database_at
from tests.flows.installation.rows import fill


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path):
    """An installation with some rows in every table; its database is the setting's."""
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("VISIONLOOP_DATABASE_URL", f"sqlite:///{database}")
    settings.cache_clear()
    fill()
    yield database
    settings.cache_clear()


def rows_at(url: str) -> dict[str, tables.Contents]:
    with tables.other_database(url) as other:
        return tables.contents(other)


def test_sqlite_moves_to_postgresql_and_back(
    full: Path, postgres: Cluster, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables.contents(tables.HERE)
    assert all(one.rows for one in before.values())
    url = postgres.make("moved")
    assert execute(["migrate-db", url]) == 0
    told = capsys.readouterr().out
    assert "the same on both sides" in told
    assert "p@ss" not in told
    assert rows_at(url) == before
    assert tables.contents(tables.HERE) == before  # the old one stays
    with database_at(url):
        # Its sequences go on behind the copied numbers.
        from serving.accounts.models import AuditLine

        assert AuditLine.objects.create(who="me", what="test").pk > 15
    back = f"sqlite:///{tmp_path / 'back.db'}"
    with database_at(url):
        changed = tables.contents(tables.HERE)
        monkeypatch.setenv("VISIONLOOP_DATABASE_URL", url)
        settings.cache_clear()
        moving.move(back)
    assert rows_at(back) == changed != before


def test_a_database_that_is_used_is_left_alone(full: Path, postgres: Cluster) -> None:
    url = postgres.make("twice")
    moving.move(url)
    before = rows_at(url)
    with pytest.raises(Refused, match="not empty"):
        moving.move(url)
    assert rows_at(url) == before
    with pytest.raises(Refused, match="database of the settings"):
        moving.move(settings().database)


def test_it_waits_for_nobody(full: Path, postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    url = postgres.make("busy")
    with psycopg.connect(url), pytest.raises(Refused, match="1 other connections"):
        moving.move(url)
    monkeypatch.setattr(Stack, "running", lambda self: True)
    with pytest.raises(Refused, match="the stack runs"):
        moving.move(url)


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://visionloop:x@127.0.0.1:1/none", MissingService, "does not answer"),
        ("mysql://me@host/db", SettingsError, "scheme 'mysql'"),
        ("sqlite:////nowhere/at/all/x.db", MissingService, "unable to open"),
    ],
)
def test_a_wrong_address_is_one_message(full: Path, url: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        moving.move(url)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE access_key SET name = 'a' || char(0) || 'b' WHERE rowid = 1",
            "name of the row .* has a NUL character",
        ),
        ("UPDATE access_key SET name = printf('%.*c', 99, 'x') WHERE rowid = 1", r"99 characters \(allowed: 64\)"),
        ("UPDATE tasks_task SET total = 3000000000", "does not take rows of tasks_task"),
    ],
)
def test_a_row_that_postgresql_does_not_take_is_named(full: Path, postgres: Cluster, change: str, says: str) -> None:
    with sqlite3.connect(full) as connection:
        assert connection.execute(change).rowcount
    url = postgres.make(f"strict{abs(hash(change))}")
    with pytest.raises(DataError, match=says):
        moving.move(url)
    with tables.other_database(url) as other:
        assert tables.filled(other) == {}


def test_a_row_that_came_out_otherwise_is_noticed(full: Path, postgres: Cluster) -> None:
    """A trigger of the target changes a value under the copy."""
    url = postgres.make("trigger")
    with tables.other_database(url) as other:
        tables.make_tables(other)
    postgres.ask("CREATE FUNCTION f() RETURNS trigger AS 'BEGIN NEW.name := ''x''; RETURN NEW; END' LANGUAGE plpgsql",
                 "trigger")  # fmt: skip
    postgres.ask("CREATE TRIGGER t BEFORE INSERT ON access_key FOR EACH ROW EXECUTE FUNCTION f()", "trigger")
    with pytest.raises(DataError, match="the copy of access_key differs"):
        moving.move(url)
    with tables.other_database(url) as other:
        assert tables.filled(other) == {}


def test_killed_in_the_middle_it_runs_again(full: Path, postgres: Cluster) -> None:
    fill_many()
    url = postgres.make("killed")
    expected = tables.contents(tables.HERE)
    begun = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "migrate-db", url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 60
    busy = "SELECT 1 FROM pg_stat_activity WHERE datname = 'killed' AND query LIKE 'INSERT INTO \"monitoring_pred%'"
    while not postgres.ask(busy):
        assert begun.poll() is None, begun.stdout.read() if begun.stdout else ""
        assert time.monotonic() < limit
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    while postgres.ask("SELECT 1 FROM pg_stat_activity WHERE datname = 'killed'"):
        time.sleep(0.05)
    with tables.other_database(url) as other:
        assert tables.filled(other) == {}
    assert moving.move(url) == expected == rows_at(url)


def fill_many() -> None:
    from monitoring.log.models import Prediction

    one = Prediction.objects.first()
    assert one is not None
    fields = {field.attname: getattr(one, field.attname) for field in Prediction._meta.concrete_fields}
    Prediction.objects.bulk_create([Prediction(**{**fields, "id": f"{n:032x}"}) for n in range(10_000)])
