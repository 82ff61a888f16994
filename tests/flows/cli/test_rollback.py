"""What `rollback` and `release MODEL promote` say, and what they do not wait for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import execute, release
from registry.core.settings import Settings, settings
from serving.releases import endpoints, history, store
from tests.bundles import MODEL
from tests.databases import own_database
from tests.flows.answering import answering_with

WHERE = f"/v1/models/{MODEL}/predict; `visionloop release {MODEL} status` shows its requests"


@pytest.fixture
def aliases(config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Version 1 was live and is warm, version 2 is live. Changes of these aliases are changes of MLflow's."""
    named = {"champion": 2, "previous": 1}

    def registered() -> dict[str, Any]:
        listed = [{"alias": alias, "version": str(number)} for alias, number in named.items()]
        return {"registered_models": [{"name": MODEL, "aliases": listed}]}

    answers = {
        "/readyz": {},
        "/-/routes": {"routes": {MODEL: {"revision": 99}}, "in_flight": {}},
        "/api/2.0/mlflow/registered-models/search": registered,
    }
    with answering_with(answers) as address, own_database(tmp_path / "own.db"):
        monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", address)
        monkeypatch.setenv("VISIONLOOP_ROUTER_PORT", address.rpartition(":")[2])
        settings.cache_clear()
        monkeypatch.setattr(release, "prepare", lambda **_: None)  # no stack is up
        monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it fails, and takes seconds elsewhere
        for version in (1, 2):
            endpoints.announce(MODEL, version, address, f"{MODEL}:{version}-x", anyway="a test")
            store.switch(MODEL, version, "a test", "to see")
        yield named
    settings.cache_clear()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert execute([*arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_rollback_says_at_once_that_the_traffic_has_moved_and_leaves_the_alias_to_the_guard(
    aliases: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "rollback", MODEL)
    assert lines[0] == f"version 1 of {MODEL} gets every request; version 2 is kept warm"
    assert "the guard makes version 1 the registry's champion too, within a minute" in lines
    assert lines[-1] == f"live now: version 1 at {settings().router_address}{WHERE}"
    (event,) = history.unfinished()
    assert event.todo == {"left": 2}


def test_the_champion_stays_where_the_gate_granted_neither(
    aliases: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    del aliases["previous"]
    assert "version 2 stays the registry's champion" in said(capsys, "release", MODEL, "rollback")
    aliases["champion"] = 3  # neither of the two
    assert not [line for line in said(capsys, "rollback", MODEL) if "the registry's champion" in line]


def test_without_mlflow_it_says_that_the_alias_follows(
    aliases: dict[str, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    lines = said(capsys, "rollback", MODEL)
    assert "the registry's alias goes back once MLflow answers" in lines
    assert lines[-1].startswith("live now: version 1 at ")


def test_the_history_says_from_where_to_where_and_why(
    aliases: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "rollback", MODEL)
    store.change(MODEL, "canary", "a test", "a try", kind="canary", second=2, share=10)
    said(capsys, "rollback", MODEL, "--why", "too slow")
    found = json.loads("\n".join(said(capsys, "release", MODEL, "status", "--json")))["history"]
    assert [(row["what"], row["from"], row["live"], row["why"]) for row in found] == [
        ("rollback", 2, 1, "too slow"),
        ("canary", None, 1, "a try"),
        ("rollback", 2, 1, ""),
        ("release", 1, 2, "to see"),
        ("release", None, 1, "to see"),
    ]
    assert " ".join(said(capsys, "release", MODEL, "status")).count("no reason given") == 1


def test_a_promoted_canary_is_live_and_says_where(aliases: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    endpoints.note_anyway(MODEL, 1, "a test")
    store.change(MODEL, "canary", "a test", kind="canary", second=1, share=10)
    lines = said(capsys, "release", MODEL, "promote", "--why", "better on scans")
    assert lines[0] == f"version 1 of {MODEL} gets every request; version 2 is kept warm"
    assert lines[-1] == f"live now: version 1 at {settings().router_address}{WHERE}"
    from serving.accounts.models import AuditLine

    line = AuditLine.objects.first()
    assert (line.what, line.target, line.why) == ("release.promote", MODEL, "better on scans")
    assert line.who.endswith("(command line)")
