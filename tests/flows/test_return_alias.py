"""The registry's alias after a rollback of the traffic, with a real registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.steps import return_alias
from registry.settings import Settings, settings
from registry.versions import CHAMPION, Versions
from tests.bundles import MODEL, make_tiny_bundle


def test_the_alias_goes_back_to_what_the_gate_granted_and_to_nothing_else(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow's artifacts
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
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


def _decided(config: Settings, digest: str, granted: bool) -> None:
    folder = config.var / "decisions" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    said = {"digest": digest, "granted": granted, "challenger": 9, "created": "2026-01-01", "summary": "it said so"}
    (folder / f"{digest[:8]}.json").write_text(json.dumps(said))
