"""Accounts by the command line, the audit trail, and Django's own checks of production settings."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from flows.cli import execute
from flows.stack.first_login import first_login
from registry.core import database
from registry.core.errors import BadInput, NotFound, Refused
from tests.clusters import Cluster
from tests.conftest import PROJECT
from tests.databases import database_at


@pytest.fixture
def first(home: Path) -> Any:
    """The first administrator."""
    from serving.accounts import people

    made = people.first_administrator()
    assert made is not None
    return made[0]


def test_the_first_administrator_is_made_once(home: Path) -> None:
    from serving.accounts import people

    made = people.first_administrator()
    assert made is not None
    user, password = made
    assert (user.email, user.role) == ("admin@localhost", "administrator")
    assert user.check_password(password)
    assert len(password) >= 16
    assert people.first_administrator() is None


def test_the_stack_tells_the_password_once(home: Path) -> None:
    from serving.accounts.models import User

    (home.parent / "dvc.yaml").write_text("stages: {}\n")
    told = first_login()
    found = re.fullmatch(r"log in as admin@localhost with the password (\S+) \(shown this once; change it\)", told)
    assert found, told
    assert User.objects.get().check_password(found[1])
    assert first_login() == ""


def test_accounts_by_the_command_line(first: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from serving.accounts.models import AuditLine, User

    for arguments in (
        "create Anna@Example.org --role operator",
        "role anna@example.org administrator --why stands_in",
        "disable anna@example.org",
        "enable anna@example.org",
        "reset-second-factor anna@example.org",
    ):
        assert execute(["users", *arguments.split()]) == 0, capsys.readouterr().err
    capsys.readouterr()
    execute(["users", "list", "--json"])
    found = {one["email"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["anna@example.org"]["role"] == "administrator"
    anna = User.objects.get(email="anna@example.org")
    lines = AuditLine.objects.filter(target=f"user {anna.pk}").order_by("pk")
    assert [line.what for line in lines] == [
        "user.create",
        "user.role",
        "user.disable",
        "user.enable",
        "user.reset-second-factor",
    ]
    assert {line.who.partition(" (")[2] for line in lines} == {"command line)"}
    assert lines[1].why == "stands_in"
    assert lines[1].details["after"] == "administrator"


def test_an_account_is_deleted_by_the_command_line(first: Any) -> None:
    from serving.access import keys as store
    from serving.accounts import keys, people
    from serving.accounts.models import AuditLine, User

    user, _ = people.create("dora@example.org", by=first)
    made, _ = keys.create(user, "notebook of Dora")
    assert execute(["users", "delete", "dora@example.org", "--yes", "--why", "she asked"]) == 0
    assert list(User.objects.all()) == [first]
    assert store.get(made.id).revoked is not None
    assert "Dora" not in store.get(made.id).name
    line = AuditLine.objects.get(what="user.delete")
    assert (line.target, line.why) == (f"user {user.pk}", "she asked")
    assert execute(["users", "delete", "admin@localhost", "--yes"]) == Refused.exit_code


def test_what_the_command_line_refuses(first: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, says in (
        ("create admin@localhost", Refused.exit_code, "already"),
        ("create nonsense", BadInput.exit_code, "valid"),
        ("role nobody@example.org viewer", NotFound.exit_code, "no account"),
        ("role admin@localhost viewer", Refused.exit_code, "last administrator"),
        ("disable admin@localhost", Refused.exit_code, "last administrator"),
    ):
        assert execute(["users", *arguments.split()]) == code
        assert says in capsys.readouterr().err


def test_losing_a_role_ends_the_keys_that_go_with_it(first: Any) -> None:
    from serving.accounts import keys, people

    user, _ = people.create("ben@example.org", "administrator", by=first)
    wide, _ = keys.create(user, "wide", actions=["predict", "admin"])
    narrow, _ = keys.create(user, "narrow")
    people.set_role(user, "operator", by=first, why="back to the machines")
    assert {one.id: one.revoked is None for one in keys.of(user)} == {wide.id: False, narrow.id: True}


def test_each_role_may_what_those_below_may() -> None:
    from serving.accounts.models import Role, User

    order = ["", "viewer", "operator", "administrator"]
    for at, held in enumerate(order):
        assert [User(role=held).has_role(Role(least)) for least in order] == [n <= at for n in range(4)]
    assert not User(role="administrator", is_active=False).has_role(Role.USER)


@pytest.mark.parametrize("statement", ["UPDATE accounts_auditline SET who = 'x'", "DELETE FROM accounts_auditline"])
def test_the_audit_trail_cannot_be_changed_even_by_sql(first: Any, home: Path, statement: str) -> None:
    with (
        closing(sqlite3.connect(home / "visionloop.db")) as raw,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        raw.execute(statement)


def test_postgresql_keeps_the_audit_trail_too(postgres: Cluster) -> None:
    from django.db import DatabaseError, connection

    with database_at(postgres.make(f"audit_{os.urandom(4).hex()}")):
        from serving.accounts import audit

        audit.note("a test", "test.line")
        for statement in ("UPDATE {} SET who = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
                cursor.execute(statement.format("accounts_auditline"))
            database.close_connection()


def test_postgresql_keeps_and_deletes_an_account(postgres: Cluster, home: Path) -> None:
    with database_at(postgres.make(f"accounts_{os.urandom(4).hex()}")):
        from serving.accounts import cleaning, contact, keys, mail, own_data, people
        from serving.accounts.models import Letter, Message, User

        administrator, _ = people.create("admin@example.org", "administrator", by="a test")
        user, _ = people.create("anna@example.org", by="a test")
        keys.create(user, "notebook")
        token = keys.token_of_pages(user)
        assert keys.token_of_pages(user) == token
        message = Message.objects.create(user=user, email=user.email, subject="A", text="B", language="fr")
        contact.answer(message, "C", administrator)
        assert Letter.objects.get().state == "waiting"
        assert mail.send_due() == 1
        assert b"Le 20" in next((home / "mail").iterdir()).read_bytes()
        cleaning.clean(timezone.now())
        assert b"".join(own_data.export(user)).startswith(b"PK")
        own_data.erase(user)
        assert list(User.objects.values_list("email", flat=True)) == ["admin@example.org"]
        assert not Message.objects.exists()


def test_two_requests_at_once_share_one_key_of_the_pages(first: Any) -> None:
    from serving.accounts import keys
    from serving.accounts.models import AccountKey

    def ask() -> str:
        try:
            return keys.token_of_pages(first)
        finally:
            database.close_connection()

    with ThreadPoolExecutor(8) as pool:
        tokens = {task.result() for task in [pool.submit(ask) for _ in range(8)]}
    assert len(tokens) == 1
    assert AccountKey.objects.filter(user=first, for_pages=True).count() == 1


def test_the_audit_trail_names_only_people_with_a_role(first: Any) -> None:
    from serving.accounts import audit, people

    user, _ = people.create("cleo@example.org", by=first)
    assert audit.note(first, "test.line").who == "admin@localhost"
    line = audit.note(user, "test.line", user)
    assert (line.who, line.target) == (f"user {user.pk}", f"user {user.pk}")
    assert audit.addresses([line.who, "user 0", "anna@example.org"]) == {line.who: "cleo@example.org"}


def test_production_settings_pass_djangos_own_checks(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    script = """
from serving.web import configuration
configuration.setup()
configuration.no_queries_in_event_loops()
from django.core.management import call_command
call_command("check", deploy=True, fail_level="WARNING")
"""
    given = {"VISIONLOOP_ROOT": str(tmp_path), "VISIONLOOP_WEB_URL": "https://vision.example.org"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **given},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
