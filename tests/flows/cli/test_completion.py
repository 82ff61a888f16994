"""What the shell offers behind a command: actions, logs, keys and their actions, besides models and options."""

from __future__ import annotations

import os

import pytest
from click.shell_completion import BashComplete

from flows.cli import cli
from registry.core.settings import Settings
from tests.bundles import MODEL
from tests.databases import own_database
from tests.flows.cli.test_cli_front import visionloop


def offered(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """What bash is told when the cursor stands at the end of `line`."""
    monkeypatch.setenv("COMP_WORDS", f"visionloop {line}")
    *before, last = line.split(" ")
    return [one.value for one in BashComplete(cli, {}, "visionloop", "_").get_completions(before, last)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("release skin", [MODEL]),
        (f"release {MODEL} s", ["shadow", "status"]),
        (f"release {MODEL} ca", ["canary"]),
        ("logs r", ["router"]),
        ("logs ", ["mlflow", "router"]),
        ("keys create somebody --action f", ["feedback"]),
        ("keys create somebody --action ", ["predict", "read", "feedback", "admin"]),
        ("keys create somebody --model skin", [MODEL]),
    ],
)
def test_names_are_offered(line: str, expected: list[str], config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = config.var / "logs"
    logs.mkdir(parents=True)
    for name in ("mlflow", "router"):
        (logs / f"{name}.log").touch()
    assert offered(monkeypatch, line) == expected


@pytest.mark.parametrize("command", ["show", "revoke", "usage"])
def test_keys_are_offered_without_their_secret(command: str, config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.access import keys

    with own_database(config.var / "visionloop.db"):
        grant, token = keys.create("somebody")
        keys.revoke(keys.create("somebody before")[0].id)
        found = offered(monkeypatch, f"keys {command} vl_")
    assert grant.caller in found
    assert token not in found
    assert len(found) == (1 if command == "revoke" else 2), "what is revoked cannot be revoked"


def test_a_database_that_is_not_there_offers_no_keys(config: Settings) -> None:
    asked = {"_VISIONLOOP_COMPLETE": "bash_complete", "COMP_WORDS": "visionloop keys show ", "COMP_CWORD": "3"}
    database = {"VISIONLOOP_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = visionloop(env={**os.environ, **asked, **database})
    assert (done.stdout.strip(), done.stderr) == ("", "")
