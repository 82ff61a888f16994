"""The whole story, as `make demo` tells it: minutes, so it is among the slow tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.bundles import MODEL
from tests.conftest import free_ports, make_workspace
from tests.flows.test_loop import Project


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_break_and_heal(tmp_path: Path) -> None:
    """An alarm on the shifted stream, a retraining that the event starts, and quiet on the same stream."""
    root = make_workspace(tmp_path / "project")
    project = Project(root, {**os.environ, **free_ports(), "VISIONLOOP_ROOT": str(root)})
    try:
        done = project("demo", timeout=1200)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        lines = [json.loads(line) for line in (root / "var" / "journal.jsonl").read_text().splitlines()]
        facts = {line["step"]: line for line in lines if line["kind"] == "fact"}
        assert facts["calm-verdict"]["text"] == "no alarm, as it should be"
        assert facts["verdict"]["data"]["alarm"] is True
        assert facts["verdict"]["data"]["action"] == "retrain"
        assert facts["quiet"]["text"].startswith("quiet: no drift")
        row = facts["quiet"]["data"]["compare"]["rows"][0]
        assert row["after"] > row["before"] + 0.05
        decisions = [json.loads(p.read_text()) for p in (root / "var" / "decisions" / MODEL).glob("*.json")]
        assert sorted((d["challenger"], d["granted"]) for d in decisions) == [(1, True), (2, True)]
        live = httpx.get(f"{project.port('router')}/v1/models").json()
        assert "2" in json.dumps(live)
        story = (root / "var" / "story" / "story.html").read_text()
        assert story.count("data:image") > 6
        again = project("demo", timeout=600)
        assert again.returncode == 0, again.stdout[-3000:]
        assert again.stdout.count("skipped") > 8
    finally:
        assert project("down").returncode == 0
