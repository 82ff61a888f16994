"""Keys: made, shown once, kept as a hash, revoked; on the command line too."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import cli
from registry.core.errors import BadInput, NotFound, Unauthorized, VisionloopError
from registry.core.settings import read_settings
from serving.access import keys, report
from serving.access.keyring import Keyring
from serving.access.report import NamedUsageRow
from tests.bundles import MODEL


@pytest.fixture(autouse=True)
def _project(project: Path) -> None:
    """Every test here has a database."""


def test_a_key_is_returned_once_and_kept_as_a_hash() -> None:
    from serving.access.models import Key

    api_key, token = keys.create("a test", "tests")
    kept = str(Key.objects.filter(id=api_key.id).values())
    _, secret = keys.parse(token) or ("", "")
    assert len(secret) == 64
    assert secret not in kept
    assert keys.matching(api_key, secret, 0.0) == api_key
    assert keys.matching(api_key, secret[:-1] + ("0" if secret[-1] != "0" else "1"), 0.0) is None
    assert keys.matching(None, secret, 0.0) is None


@pytest.mark.parametrize("token", ["", "vl_", "vl_0123456789ab_", "VL_0123456789ab_" + "0" * 64, "vl_../../x_y", "é"])
def test_what_is_no_key_is_not_parsed(token: str) -> None:
    assert keys.parse(token) is None


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"actions": ("predict", "fly")}, BadInput, "fly"),
        ({"actions": ()}, BadInput, "none"),
        ({"models": ()}, BadInput, "no model"),
        ({"models": ("skin_segmentaton",)}, NotFound, "skin_segmentaton"),
        ({"name": ""}, BadInput, "name"),
        ({"name": "a\x1b[2J"}, BadInput, "name"),
        ({"expires": datetime.now(UTC) - timedelta(days=1)}, BadInput, "expires"),
    ],
)
def test_refuses_keys_that_make_no_sense(changed: dict[str, Any], error: type[VisionloopError], says: str) -> None:
    with pytest.raises(error, match=says):
        keys.create(**{"name": "a test", **changed})


def test_a_keyring_follows_what_changes() -> None:
    ring = Keyring()
    ring.refresh()
    api_key, token = keys.create("a test", expires=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Unauthorized, match="not known"):
        ring.find(token)
    ring.refresh()
    assert ring.find(token).id == api_key.id
    with pytest.raises(Unauthorized, match="not known"):
        ring.find(token[:-1] + ("0" if token[-1] != "0" else "1"))
    keys.revoke(api_key.id)
    ring.refresh()
    with pytest.raises(Unauthorized, match=r"revoked since 20\d\d-"):
        ring.find(token)
    assert keys.revoke(api_key.id) == keys.get(api_key.id)


def test_an_expired_key_is_refused() -> None:
    from serving.access.models import Key

    api_key, token = keys.create("a test", expires=datetime.now(UTC) + timedelta(hours=1))
    Key.objects.filter(id=api_key.id).update(expires=datetime.now(UTC) - timedelta(seconds=1))
    ring = Keyring()
    ring.refresh()
    with pytest.raises(Unauthorized, match=r"expired since 20\d\d-\d\d-\d\d \d\d:\d\d UTC"):
        ring.find(token)


def test_keys_made_at_once_get_serials_of_their_own() -> None:
    made: list[int] = []

    def make() -> None:
        from django.db import connection

        made.append(keys.create("at once")[0].serial)
        connection.close()

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8


@pytest.mark.parametrize(
    ("given", "required"),
    [
        ({}, False),
        ({"HOST": "localhost"}, False),
        ({"HOST": "::1"}, False),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "192.168.1.5"}, True),
        ({"HOST": "router.internal"}, True),
        ({"REQUIRE_KEYS": "true"}, True),
        ({"HOST": "0.0.0.0", "REQUIRE_KEYS": "false"}, False),
    ],
)
def test_keys_are_required_where_others_can_reach_the_router(
    given: dict[str, str], required: bool, tmp_path: Path
) -> None:
    config = read_settings({f"VISIONLOOP_{name}": value for name, value in given.items()}, tmp_path)
    assert config.keys_required is required


def test_this_machines_own_commands_show_their_key_and_no_message_does(tmp_path: Path) -> None:
    config = read_settings({"VISIONLOOP_API_KEY": "vl_secret"}, tmp_path)
    assert config.key_headers == {"X-API-Key": "vl_secret"}
    assert "vl_secret" not in repr(config)
    assert read_settings({}, tmp_path).key_headers == {}


def _run(*arguments: str, columns: int = 200) -> str:
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(cli, ["keys", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_line_makes_shows_and_revokes() -> None:
    token = _run(
        "create", "a camera", "--owner", "gate 3", "--model", MODEL, "--per-minute", "30", "--expires", "90d"
    ).strip()
    key, secret = token.rsplit("_", 1)
    assert all(part in _run("list") for part in (key, "a camera", "gate 3", MODEL, "30"))
    shown = _run("show", key)
    assert "active" in shown
    assert secret not in shown
    assert "is revoked" in _run("revoke", key)
    assert key not in _run("list")
    assert "revoked" in _run("list", "--all")
    from serving.accounts.models import AuditLine

    assert set(AuditLine.objects.filter(target=key).values_list("what", flat=True)) == {"key.create", "key.revoke"}


def test_keys_and_usage_fit_eighty_columns_and_keys_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    token = _run("create", "a camera with a long name", "--owner", "gate 3", "--per-minute", "30", "--expires", "90d")
    key = token.strip().rsplit("_", 1)[0]
    (listed,) = [one for one in json.loads(_run("list", "--json")) if one["key"] == key]
    assert (listed["owner"], listed["per_minute"], listed["state"]) == ("gate 3", 30, "active")
    assert json.loads(_run("show", key, "--json"))["requests_this_month"] == 0
    day = datetime.now(UTC).date()
    row = NamedUsageRow(
        day=day, key=key, name=listed["name"], owner="gate 3", model="suspect_classification", requests=99_999,
        errors=12, refused=3, bytes_in=10**10, bytes_out=10**8, elapsed_ms=10**8,
    )  # fmt: skip
    monkeypatch.setattr(report, "rows", lambda *_: [row])
    for text in (_run(*asked, columns=80) for asked in (("list",), ("show", key), ("usage", key))):
        assert max(map(len, text.splitlines())) <= 80, text
        assert "a camera with a long name" in text
    _run("revoke", key)


def test_a_list_without_active_keys_says_where_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = keys.revoke(keys.create("not for long")[0].id)
    for found, says in (([gone], "1 expired or revoked: `visionloop keys list --all`"), ([], "no keys: ")):
        monkeypatch.setattr(keys, "every", lambda found=found: found)
        assert says in _run("list")
        assert "`visionloop keys create NAME` makes one" in _run("list")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["show", "vl_000000000000"], NotFound),
        (["revoke", "../../etc/passwd"], NotFound),
        (["create", "x", "--expires", "soon"], BadInput),
        (["create", "x", "--expires", "2w"], BadInput),
        (["create", "x", "--expires", "99999999999h"], BadInput),
        (["show", "vl_0123456789ab_" + "5ec7e7" + 58 * "0"], BadInput),
        (["create", "x", "--expires", "2020-01-01"], BadInput),
        (["create", "x", "--action", "fly"], BadInput),
        (["usage", "--since", "99999999999d"], BadInput),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments: list[str], error: type[VisionloopError]) -> None:
    with pytest.raises(error) as caught:
        _run(*arguments)
    assert caught.value.fix
    assert "5ec7e7" not in str(caught.value), "a secret is not repeated"
    assert "vl_" not in arguments[1] or arguments[1][:15] in str(caught.value)


@pytest.mark.parametrize(
    ("given", "hours"), [("2h", 2), ("90d", 90 * 24), ("2100-01-01", None)], ids=["hours", "days", "date"]
)
def test_an_expiry_is_hours_days_or_the_beginning_of_a_day(given: str, hours: int | None) -> None:
    token = _run("create", "for a while", "--expires", given).strip()
    expires = keys.get(token.rsplit("_", 1)[0]).expires
    due = datetime.now(UTC) + timedelta(hours=hours) if hours else datetime(2100, 1, 1, tzinfo=UTC)
    assert expires is not None
    assert abs(expires - due.timestamp()) < 60
    assert f"expires {datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M} UTC" in " ".join(_run("list").split())
