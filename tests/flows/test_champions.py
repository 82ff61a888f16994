"""Which version is the registry's champion, asked over HTTP, and that `models` says where another has the traffic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flows import champions
from flows.cli import execute
from flows.process import ProcessStatus
from flows.stack.control import Stack
from registry.core.settings import Settings, settings
from tests.bundles import MODEL
from tests.flows.answering import answering_with

OTHER = "weapon_detection"
FIELDS = {"title": "", "task": "", "media_in": [], "media_out": []}
ANSWERS: dict[str, Any] = {
    "/api/2.0/mlflow/registered-models/search": {
        "registered_models": [
            {"name": MODEL, "aliases": [{"alias": "previous", "version": "2"}, {"alias": "champion", "version": "1"}]},
            {"name": OTHER, "aliases": [{"alias": "champion", "version": "3"}]},
            {"name": "face_gender"},
        ]
    },
    "/v1/models": {"models": [{"name": MODEL, "version": 2, **FIELDS}, {"name": OTHER, "version": 3, **FIELDS}]},
}


@pytest.fixture
def answering(config: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with answering_with(ANSWERS) as address:
        monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", address)
        monkeypatch.setenv("VISIONLOOP_ROUTER_PORT", address.rpartition(":")[2])
        settings.cache_clear()
        monkeypatch.setattr(Stack, "status", lambda self: [ProcessStatus("router", "ready")])
        yield
    settings.cache_clear()


def test_the_champions_are_asked_over_http(answering: None) -> None:
    assert champions.champions() == {MODEL: 1, OTHER: 3}


def test_without_a_registry_nothing_is_said(config: Settings) -> None:
    assert champions.champions() is None


def test_models_says_where_traffic_and_registry_differ(answering: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[MODEL].endswith("version 2 is live, version 1 is the registry's champion")
    assert lines[OTHER].endswith("version 3 is live")
