"""A retraining says who asked for it: the monitor's event, or a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.cli import execute, loop
from flows.orchestration import running, worker
from registry.core.settings import Settings
from tests.bundles import MODEL
from tests.databases import own_database


def test_the_event_of_the_monitor_names_the_monitor(config: Settings) -> None:
    (offered,) = (one for one in worker.deployments() if one.name == f"retrain-{MODEL}")
    (trigger,) = offered.triggers
    assert (trigger.parameters or {})["asked_by"] == "the drift monitor"
    assert offered.parameters == {"model": MODEL}, "asked for on Prefect's page, it is not the monitor's"


def test_a_person_is_named_and_an_unknown_verdict_is_refused_before_anything_runs(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(running, "run_flow", lambda name, **more: asked.append(more) or f"{MODEL}@2 live")
    monkeypatch.setattr(loop, "prepare", lambda local: None)  # no stack is up
    with own_database(tmp_path / "own.db"):
        from monitoring.log.models import Verdict

        assert execute(["retrain", MODEL]) == 4
        Verdict.objects.create(
            id="0123456789ab", time=datetime.now(UTC), model=MODEL, version=1, predictions=1, labels=1, drifted=True,
            action="retrain", why="darker",
        )  # fmt: skip
        assert execute(["retrain", MODEL, "--verdict", "typo"]) == 4
        assert "there is no drift verdict typo" in capsys.readouterr().err
        assert not asked
        assert execute(["retrain", MODEL]) == 0
    assert asked == [{"model": MODEL, "verdict": "0123456789ab", "asked_by": "the command line"}]
    assert capsys.readouterr().out == f"{MODEL}@2 live\n"
