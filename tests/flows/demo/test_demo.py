"""The whole story, as `make demo` tells it: minutes, so it is among the slow tests."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import httpx
import pytest

from tests.bundles import MODEL
from tests.conftest import PROJECT, free_ports, make_workspace
from tests.flows.steps.test_loop import Project
from tests.odd_places import odd_place


def _documented(project: Project) -> set[str]:
    """The addresses that the documents name, at this stack's ports."""
    ports = {"8700": "home", "3000": "router", "5000": "mlflow", "4200": "prefect"}
    found = set()
    for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]:
        for port, path in re.findall(r"http://127\.0\.0\.1:(\d+)(/[^\s`'\")>]*)", page.read_text()):
            served = f"/models/{MODEL}/" in path or "/models/" not in path
            if port in ports and served and "$" not in path:  # $ID: of an answer
                found.add(project.port(ports[port]) + path)
    return found


def _opens(address: str, status: int) -> bool:
    """405: it is there, and wants a file sent to it."""
    return status == 200 or (status == 405 and address.endswith(("/predict", "/tasks", "/feedback")))


SMALL: dict[str, dict[str, object]] = {
    "data": {"train": 64, "val": 12, "test": 24},
    "train": {"epochs": 6, "image_size": 64, "max_seconds": 40},
    "retrain": {"epochs": 3, "max_seconds": 20},
    "compress": {"epochs": 4, "max_seconds": 30, "calibration": 8, "rounds": 2},
    "evaluate": {"bootstrap": 200, "samples": 1},
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_small_break_and_retrain(tmp_path: Path) -> None:
    """What CI runs of it: a small network learns, is broken, and the alarm starts a retraining that is decided on.
    Whether so small a network gets better is chance; the test below looks at that."""
    root = make_workspace(tmp_path / "project", **SMALL)
    project = Project(root, {**os.environ, **free_ports(), "VISIONLOOP_ROOT": str(root)})
    try:
        done = project("demo", timeout=1200)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        decisions = [json.loads(p.read_text()) for p in (root / "var" / "decisions" / MODEL).glob("*.json")]
        granted = {d["challenger"]: d["granted"] for d in decisions}
        assert granted.keys() == {1, 2}, "the alarm started no retraining"
        assert {d["challenger"]: d["asked_by"] for d in decisions} == {1: "make demo", 2: "the drift monitor"}
        assert granted[1]
        live = httpx.get(f"{project.port('router')}/v1/models").json()["models"]
        (mine,) = [one for one in live if one["name"] == MODEL]
        assert mine["version"] == (2 if granted[2] else 1)
    finally:
        assert project("down").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_break_and_retrain(tmp_path: Path) -> None:
    """An alarm on the shifted stream, a retraining that the event starts, and quiet on more of the stream.

    All of it in an odd place; every address that was printed is opened at the end.
    """
    root = make_workspace(odd_place(tmp_path) / "project")
    project = Project(root, {**os.environ, **free_ports(), "VISIONLOOP_ROOT": str(root)})
    try:
        done = project("demo", timeout=1200)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        lines = [json.loads(line) for line in (root / "var" / "journal.jsonl").read_text().splitlines()]
        facts = {line["step"]: line for line in lines if line["kind"] == "fact"}
        assert facts["calm-verdict"]["text"] == "no alarm, as it should be"
        assert facts["monitor"]["data"]["alarm"] is True
        assert facts["monitor"]["data"]["action"] == "retrain"
        assert facts["quiet"]["text"].startswith("quiet: no drift")
        row = facts["quiet"]["data"]["compare"]["rows"][0]
        assert row["after"] > row["before"] + 0.05
        decisions = [json.loads(p.read_text()) for p in (root / "var" / "decisions" / MODEL).glob("*.json")]
        assert sorted((d["challenger"], d["granted"]) for d in decisions) == [(1, True), (2, True)]
        live = httpx.get(f"{project.port('router')}/v1/models").json()
        assert "2" in json.dumps(live)
        story = (root / "var" / "story" / "story.html").read_text()
        assert story.count("data:image") > 6
        said = done.stdout + "".join(
            project(*command).stdout
            for command in (("up",), ("status",), ("decisions", MODEL), ("monitor", MODEL), ("ui", "api"))
        )
        said += "".join(project("ui", page, "--model", MODEL).stdout for page in ("home", "mlflow", "prefect", "api"))
        said += httpx.get(f"{project.port('home')}/story.html").text
        opened = {}
        for address in set(re.findall(r"http://127\.0\.0\.1:\d+[^\s\"'<>`);]*", said)) | _documented(project):
            opened[address] = httpx.get(address, headers={"Accept": "text/html,*/*"}, follow_redirects=True).status_code
        wrong = {address: status for address, status in opened.items() if not _opens(address, status)}
        assert not wrong
        assert len(opened) > 12
        again = project("demo", timeout=600)
        assert again.returncode == 0, again.stdout[-3000:]
        assert again.stdout.count("skipped") > 8
    finally:
        assert project("down").returncode == 0
