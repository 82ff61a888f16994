"""Boxes below a detector's own threshold come beside the answer, for a page that shows them on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.contract import catalog
from registry.versions.bundle import Bundle, open_bundle, seal
from registry.versions.predictor import Predictor, golden_answer
from registry.vision.picture import to_jpeg
from serving.releases import deploy, endpoints, packaging, store
from serving.releases.packaging import process_name
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.serving.conftest import Processes
from tests.serving.controlled import Numbered
from tests.serving.removal import retire
from tests.serving.runs.asking import begin, over, send

PICTURE = to_jpeg(scene(1, 320, 240))
STRICT = 99


def strict_bundle(folder: Path, model: str) -> Bundle:
    """A detector that finds with a score of 0.9 and counts from 0.95 on: it says nothing by itself."""
    manifest = make_detector_bundle(folder, catalog.get(model)).manifest
    strict = manifest.model_copy(update={"thresholds": {**manifest.thresholds, "score": 0.95}, "files": {}})
    predictor = Predictor(Bundle(folder, strict), threads=1)
    for sample in (folder / "samples").iterdir():
        answer = golden_answer(predictor((sample / "input").read_bytes()))
        (sample / "expected.json").write_text(json.dumps(answer))
    seal(folder, strict)
    return open_bundle(folder)


@pytest.fixture
def strict(project: Path, detector: str, router: str, processes: Processes) -> Iterator[int]:
    """It is live during the test."""
    tag, port = (
        packaging.package(Numbered(detector, STRICT), strict_bundle(project / "strict", detector)),
        deploy.free_port(),
    )
    argv, env = deploy.service_command(tag, port), packaging.serve_environment()
    service = processes.start(process_name(tag), argv, env, f"http://127.0.0.1:{port}/readyz")
    endpoints.announce(detector, STRICT, service.url, tag, anyway="a test")
    deploy.follow(store.switch(detector, STRICT), router)
    yield STRICT
    deploy.follow(store.switch(detector, 1), router)
    retire(detector, STRICT)
    processes.stop(process_name(tag))


def test_what_the_version_would_not_name_is_beside_the_answer(anna: httpx.Client, detector: str, strict: int) -> None:
    begun = begin(anna, detector, "doubtful.jpg", PICTURE, version=strict).json()
    send(anna, begun["id"], PICTURE)
    assert over(anna, begun["id"])["state"] == "done"
    answer = anna.get(f"/files/{begun['id']}/answer.json").json()
    assert (answer["version"], answer["detections"], answer["counts"]) == (strict, [], {})
    assert {one["class"] for one in answer["below"]} == {"sports ball", "book"}
    assert "parameters" not in answer
    assert anna.get(f"/files/{begun['id']}/annotated.jpg").content[:3] == b"\xff\xd8\xff"
