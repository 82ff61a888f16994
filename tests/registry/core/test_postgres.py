"""The operational database as a PostgreSQL: addresses, the driver, migrations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from registry.core import database, database_address
from registry.core.closure import closure_of, project_folder, requirements
from registry.core.errors import MissingService, SettingsError, StorageError
from tests.clusters import PASSWORD, Cluster
from tests.databases import database_at

MIGRATE = "from registry.core import database; database.migrate()"


@pytest.fixture
def migrated(postgres: Cluster) -> Iterator[str]:
    name = f"migrated_{os.urandom(4).hex()}"
    with database_at(postgres.make(name)):
        yield name


def _migrating(url: str, var: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "VISIONLOOP_DATABASE_URL": url, "VISIONLOOP_VAR": str(var)}
    command = [sys.executable, "-c", MIGRATE]
    return subprocess.Popen(command, env=env, cwd=project_folder(), stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:secret@db.internal:5433/ours", ("me", "secret", "db.internal", "5433", "ours")),
        ("postgres://me@db.internal/ours", ("me", "", "db.internal", "", "ours")),
        ("postgresql://me:p%40ss%2Fwo%3Ard%25@[::1]:1/a%20b", ("me", PASSWORD, "::1", "1", "a b")),
        ("postgresql:///ours?host=/run/postgresql", ("", "", "", "", "ours")),
        ("postgresql://me@db/ours?application_name=a@b", ("me", "", "db", "", "ours")),
    ],
)
def test_an_address_is_taken_apart(url: str, expected: tuple[str, ...]) -> None:
    entry = database.database_entry(url)
    assert tuple(entry[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")) == expected


def test_what_follows_the_question_mark_goes_to_the_client_library() -> None:
    options = database.database_entry("postgresql://db/ours?sslmode=require&connect_timeout=2")["OPTIONS"]
    assert (options["sslmode"], options["connect_timeout"]) == ("require", "2")
    assert options["tcp_user_timeout"] == database_address.POSTGRES_TIMEOUTS["tcp_user_timeout"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pass/word@db/ours",
        "postgresql://me:pass@[db/ours",
        "mysql://db/ours",
        # What is in front of the / could be a host and its port.
        "postgresql://me:1234/5678@db/ours",
        "postgresql://me:1234/5678?9@db/ours",
        "postgresql://me:1234/5678#9@db/ours",
        "postgresql://me@corp:1234/5678@db/ours",
        "postgresql://me:1234?5678@db/ours",
        "postgresql://me:1234#5678@db/ours",
    ],
)
def test_an_address_that_is_none_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        database.database_entry(url)
    assert caught.value.fix
    for part in ("me:", "pass@", "pass/", "1234", "5678"):
        assert part not in str(caught.value)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="sslmod"):
        database_address.check_driver({**database_address.POSTGRES_TIMEOUTS, "sslmod": "require"})


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match="psycopg") as caught:
        database_address.check_driver({})
    assert "pip install" in caught.value.fix


def test_a_bento_requires_the_driver_with_its_library() -> None:
    pins = requirements(closure_of(("registry.core.database",), project_folder()).packages)
    assert {"psycopg", "psycopg-binary"} <= {pin.partition("==")[0] for pin in pins}


def test_processes_that_migrate_at_once_wait_for_each_other(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.make("at_once")
    processes = [_migrating(url, tmp_path) for _ in range(4)]
    said = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    applied = postgres.ask("SELECT app, count(*), count(DISTINCT name) FROM django_migrations GROUP BY app", "at_once")
    assert {app for app, _, _ in applied} == {"monitoring", "serving", "access", "tasks", "idempotency", "webhooks"}
    assert all(count == distinct for _, count, distinct in applied)
    # None of them met a table that another one was making.
    assert not re.search("relation .* already exists", postgres.log)


def test_the_tables_are_what_the_code_says(migrated: str) -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)  # leaves with 1 where there is one to make
    database.migrate()


def test_a_user_who_may_make_no_tables_is_told_so(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.make("foreign_tables", owner="admin")
    postgres.ask("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "foreign_tables")
    with pytest.raises(StorageError, match="permission denied") as caught, database_at(url):
        pass
    assert "OWNER" in caught.value.fix


@pytest.mark.parametrize("gone", ["the server", "the database", "the password"])
def test_what_does_not_answer_is_a_missing_service(
    postgres: Cluster, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # it tries five times
    there = postgres.address("postgres")
    url = {
        "the server": "postgresql://me:secret-word@127.0.0.1:9/ours",
        "the database": there.replace("/postgres", "/gone"),
        "the password": there.replace(quote(PASSWORD, safe=""), "secret-word"),
    }[gone]
    with pytest.raises(MissingService, match="does not answer") as caught, database_at(url):
        pass
    assert "secret-word" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
