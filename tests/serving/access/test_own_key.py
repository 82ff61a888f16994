"""A key's own calls: who am I, and a new secret; and what is changed of a key later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from flows.cli import cli
from registry.core.errors import BadInput, NotFound, Refused, Unauthorized
from serving.access import keys
from serving.access.keyring import Keyring
from serving.client.clients import Client
from tests.bundles import MODEL
from tests.serving.access.conftest import bearer, known
from tests.waiting import until


@pytest.fixture(autouse=True)
def _project(project: Any) -> None:
    """Every test here has a database."""


def _ring() -> Keyring:
    ring = Keyring()
    ring.refresh()
    return ring


def test_a_key_is_changed_and_keeps_its_secret() -> None:
    api_key, token = keys.create("a test", "tests", per_minute=5, expires=datetime.now(UTC) + timedelta(days=1))
    keys.change(api_key.id, {"per_minute": 7, "name": "renamed", "models": [MODEL]})
    found = _ring().find(token)
    assert (found.name, found.owner, found.per_minute, found.models) == ("renamed", "tests", 7, {MODEL})
    assert found.expires == api_key.expires
    keys.change(api_key.id, {"expires": None, "per_minute": None})
    assert (_ring().find(token).expires, _ring().find(token).per_minute) == (None, None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, BadInput),
        ({"name": ""}, BadInput),
        ({"actions": ["fly"]}, BadInput),
        ({"models": ["skin"]}, NotFound),
        ({"expires": datetime(2020, 1, 1, tzinfo=UTC)}, BadInput),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(changes: dict[str, Any], error: type[Exception]) -> None:
    api_key, _ = keys.create("a test")
    with pytest.raises(error):
        keys.change(api_key.id, {"owner": "somebody", **changes} if changes else {})
    assert keys.get(api_key.id) == api_key


def test_both_secrets_are_valid_for_the_grace_time() -> None:
    from serving.access.models import Key

    api_key, old = keys.create("a test")
    rotated, new = keys.rotate(api_key.id, timedelta(hours=1))
    ring = _ring()
    assert (ring.find(new).id, ring.find(new).secret_until) == (api_key.id, None)
    assert ring.find(old).secret_until == rotated.old_until
    Key.objects.filter(id=api_key.id).update(old_until=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(Unauthorized, match="not known"):
        _ring().find(old)
    _, newest = keys.rotate(api_key.id, timedelta(0))
    with pytest.raises(Unauthorized):
        _ring().find(new)
    assert _ring().find(newest).id == api_key.id
    keys.revoke(api_key.id)
    with pytest.raises(Refused, match="revoked"):
        keys.rotate(api_key.id)
    with pytest.raises(Refused, match="revoked"):
        keys.change(api_key.id, {"name": "again"})


def _run(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["keys", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_changes_and_rotates() -> None:
    api_key, old = keys.create("a camera", per_minute=5, expires=datetime.now(UTC) + timedelta(days=1))
    _run("change", api_key.caller, "--per-minute", "default", "--per-month", "0", "--expires", "never")
    found = keys.get(api_key.id)
    assert (found.per_minute, found.per_month, found.expires) == (None, 0, None)
    _run("change", api_key.caller, "--expires", "2h", "--action", "read", "--model", "*")
    found = keys.get(api_key.id)
    assert found.expires is not None
    assert abs(found.expires - datetime.now(UTC).timestamp() - 7200) < 60
    assert (found.actions, found.models) == ({"read"}, {"*"})
    new = _run("rotate", api_key.caller, "--grace", "0h").strip()
    assert _ring().find(new).id == api_key.id
    with pytest.raises(Unauthorized):
        _ring().find(old)
    with pytest.raises(BadInput, match="--grace"):
        _run("rotate", api_key.caller, "--grace", "soon")
    with pytest.raises(BadInput, match="nothing"):
        _run("change", api_key.caller)


def test_whoami_tells_what_a_key_may_and_costs_nothing(guarded: str, router: str) -> None:
    api_key, token = keys.create("asks", "me", models=[MODEL], per_minute=1, per_month=9)
    known(guarded, token)  # which uses up the minute
    for _ in range(3):
        answer = httpx.get(f"{guarded}/v1/whoami", headers=bearer(token))
        assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["caller"] == found["key"]["id"] == api_key.caller
    assert (found["key"]["name"], found["key"]["models"], found["key"]["expires"]) == ("asks", [MODEL], None)
    assert (found["key"]["quota"]["per_minute"], found["key"]["quota"]["per_month"]) == (1, 9)
    assert token.rpartition("_")[2] not in answer.text
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert httpx.get(f"{guarded}/v1/whoami", headers=bearer(wrong)).status_code == 401
    assert httpx.get(f"{guarded}/v1/whoami").status_code == 401
    assert httpx.get(f"{router}/v1/whoami").json() == {"caller": "127.0.0.1", "key": None}


def test_a_key_rotates_itself_over_http(guarded: str, router: str) -> None:
    api_key, token = keys.create("rotates", actions=["read"])
    known(guarded, token)
    answer = httpx.post(f"{guarded}/v1/keys/self/rotate?grace_s=600", headers=bearer(token))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    new = answer.json()["key"]
    assert answer.json()["id"] == api_key.caller
    assert new.startswith(f"{api_key.caller}_")
    known(guarded, new)
    until(lambda: httpx.get(f"{guarded}/v1/whoami", headers=bearer(token)).json()["key"]["secret_expires"])
    assert httpx.get(f"{guarded}/v1/whoami", headers=bearer(new)).json()["key"]["secret_expires"] is None
    again = httpx.post(f"{guarded}/v1/keys/self/rotate", headers=bearer(token))
    assert (again.status_code, again.json()["error"]) == (403, "Forbidden")
    for query in ("grace_s=soon", "grace_s=99999999", "grace=1"):
        assert httpx.post(f"{guarded}/v1/keys/self/rotate?{query}", headers=bearer(new)).status_code == 422
    assert httpx.post(f"{router}/v1/keys/self/rotate").status_code == 401
    with Client(guarded, new) as client:
        assert client.rotate(grace_s=60).id == api_key.caller
        me = client.whoami()
        assert me.key is not None
        assert me.key.actions == ["read"]
