"""`visionloop predict` of a video, with a registered version, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import predict
from registry.contract import catalog
from registry.core.errors import BadInput
from registry.core.settings import settings
from registry.versions.mlflow_registry import Versions
from registry.video import video
from tests.clips import make_clip
from tests.detector_bundle import make_detector_bundle
from tests.mlflow_stores import empty_store

MODEL = "object_detection"


@pytest.fixture
def registered(workspace: Path, tmp_path: Path) -> Path:
    empty_store(settings().var / "mlflow" / "mlflow.db")
    versions = Versions(settings().mlflow_store)  # where --local looks
    versions.promote(versions.register(make_detector_bundle(tmp_path / "bundle", catalog.get(MODEL))))
    (workspace / "clip.mp4").write_bytes(make_clip(20, (192, 128), sound="aac"))
    return workspace


def test_a_video_is_annotated_with_its_json_beside_it(registered: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(predict.predict, [MODEL, "clip.mp4", "--out", "out/annotated.webm"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "20/20" in done.stderr
    assert done.stdout.split() == ["out/annotated.webm", "out/annotated.json"]
    made = video.open_clip((registered / "out" / "annotated.webm").read_bytes())
    assert (made.frames, made.audio) == (20, True)
    told = json.loads((registered / "out" / "annotated.json").read_text())
    assert (told["frames"], len(told["tracks"])) == (20, 2)
    printed = runner.invoke(predict.predict, [MODEL, "clip.mp4"], catch_exceptions=False)
    assert json.loads(printed.stdout)["frames"] == 20


def test_a_heat_map_of_a_video_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(make_clip(2))
    with pytest.raises(BadInput, match="one picture"):
        CliRunner().invoke(predict.predict, [MODEL, str(file), "--explain", "heat.jpg"], catch_exceptions=False)
