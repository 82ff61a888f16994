"""The registry's alias after a rollback of the traffic, with a real registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.orchestration import guard
from flows.steps import return_alias
from registry.core.errors import MissingService
from registry.core.settings import Settings, settings
from registry.versions.mlflow_registry import CHAMPION, Versions
from serving.releases import deploy, endpoints, history
from serving.releases import store as releases
from tests.bundles import MODEL, make_tiny_bundle
from tests.databases import own_database
from tests.mlflow_stores import empty_store


def test_the_alias_goes_back_to_what_the_gate_granted_and_to_nothing_else(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow's artifacts
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", empty_store(tmp_path / "mlflow.db"))
    settings.cache_clear()
    versions = Versions()
    first, granted, refused = (
        versions.register(make_tiny_bundle(tmp_path / str(number), f"version {number}")) for number in (1, 2, 3)
    )
    _decided(config, granted.digest, granted=True)
    _decided(config, refused.digest, granted=False)
    versions.promote(first)
    assert not return_alias(MODEL, first.number, refused.number), "it was released anyway"
    assert versions.get(MODEL, CHAMPION).number == first.number
    assert return_alias(MODEL, first.number, granted.number)
    assert versions.get(MODEL, CHAMPION).number == granted.number
    assert return_alias(MODEL, granted.number, first.number), "it was champion before"
    assert not return_alias(MODEL, granted.number, refused.number), "the version that was left was not champion"


def test_what_a_rollback_leaves_in_the_registry_is_tried_until_it_is_there(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flows.md 5.17: MLflow was away for a moment, and the page and the alias were lost."""
    monkeypatch.chdir(tmp_path)
    store = empty_store(tmp_path / "mlflow.db")
    versions = Versions(store)
    first, second = (versions.register(make_tiny_bundle(tmp_path / str(n), f"version {n}")) for n in (1, 2))
    _decided(config, first.digest, granted=True)
    versions.promote(second)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with own_database(tmp_path / "own.db"):
        for number in (1, 2):
            endpoints.announce(MODEL, number, "http://127.0.0.1:9", f"{MODEL}:{number}-x")
            releases.switch(MODEL, number)
        monkeypatch.setattr(deploy, "is_ready", lambda endpoint: True)
        deploy.roll_back(MODEL, page="decisions/a.html", decision={})
        (config.var / "decisions" / "a.html").write_text("a page")
        (config.var / "decisions" / "a.json").write_text("{}")
        (event,) = history.unfinished()
        for uri in ("http://127.0.0.1:9", store):
            monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", uri)
            settings.cache_clear()
            if uri == store:
                guard.write_down(event.id)
            else:
                with pytest.raises(MissingService):
                    guard.write_down(event.id)
                assert history.unfinished()
        assert not history.unfinished()
    assert versions.get(MODEL, CHAMPION).number == first.number


def _decided(config: Settings, digest: str, granted: bool) -> None:
    folder = config.var / "decisions" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    said = {"digest": digest, "granted": granted, "challenger": 9, "created": "2026-01-01", "summary": "it said so"}
    (folder / f"{digest[:8]}.json").write_text(json.dumps(said))
