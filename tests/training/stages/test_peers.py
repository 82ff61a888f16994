"""Somebody else's network in the table of variants: measured on the same faces, never chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from registry.contract import catalog
from registry.core import journal
from registry.core.files import write_file
from registry.core.settings import settings
from registry.models.face_gender import cvlib_gender
from registry.versions.bundle import Score, Variant
from tests.registry.models.caffe import make_gender_net
from tests.training.conftest import enter
from training.export import choose_variant
from training.stages import peers
from training.workspace.engine import hooks_of
from training.workspace.workspace import Workspace, open_workspace

MODEL = "face_gender"
PARAMS = {"image_size": 64, "search": "cvlib", "epochs": 1, "batch": 4, "learning_rate": 0.001, "max_seconds": 60}
OURS = Variant(
    name="dense openvino f32", engine="openvino", numerics="f32",
    score=Score(value=0.1, low=0.0, high=0.2, cases=6), p50_ms=1e3, p95_ms=1e3, size_mb=1.0, macs=1, parameters=1,
)  # fmt: skip


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Six held-out pictures, and a home whose cvlib has fetched nothing."""
    sections = {"data": {}, "train": {**PARAMS, "seed": 3}, "retrain": {}, "compress": {}, "evaluate": {}}
    write_file(tmp_path / "params.yaml", yaml.safe_dump({"models": [MODEL], MODEL: sections}))
    write_file(tmp_path / "dvc.yaml", "stages: {}\n")
    write_file(tmp_path / "build" / MODEL / "start" / "start.json", "{}\n")
    catalog.get(MODEL).data.synthesise(tmp_path / "data" / MODEL, {"seed": 3, "train": 2, "val": 6, "test": 6})
    monkeypatch.setenv("HOME", str(tmp_path))
    enter(monkeypatch, tmp_path)
    yield open_workspace(MODEL)
    settings.cache_clear()


def fetch(bias: float) -> None:
    """What cvlib would have fetched, sure that every face is male, or female."""
    folder = Path(cvlib_gender.CACHE).expanduser()
    make_gender_net(folder / cvlib_gender.ARCHITECTURE, folder / cvlib_gender.WEIGHTS, bias=bias)


def rows(stage: Workspace) -> list[Variant]:
    return peers.rows(stage, hooks_of(stage.spec), "compress", rounds=1, bootstrap=50)


def test_it_is_scored_on_the_held_out_faces_and_not_chosen(stage: Workspace) -> None:
    fetch(bias=50.0)
    [male] = rows(stage)
    fetch(bias=-50.0)
    [female] = rows(stage)
    assert 0 < male.score.value < 1
    assert male.score.value + female.score.value == pytest.approx(1)
    assert (male.name, male.score.cases) == ("cvlib opencv f32", 6)
    assert min(male.p50_ms, male.size_mb, male.macs, male.parameters) > 0
    first, other = choose_variant.choose(stage.spec, [OURS, male], OURS)
    assert first.chosen
    assert (other.chosen, other.why) == (False, "for comparison only")


def test_without_the_files_nothing_is_compared_and_nothing_said(stage: Workspace) -> None:
    assert rows(stage) == []
    assert journal.read()[0] == []


def test_half_of_the_files_are_told_and_stop_nothing(stage: Workspace) -> None:
    fetch(bias=0.0)
    (Path(cvlib_gender.CACHE).expanduser() / cvlib_gender.ARCHITECTURE).unlink()
    assert rows(stage) == []
    [said], _ = journal.read()
    assert "lacks gender_deploy.prototxt" in said["text"]
    assert said["data"]["alarm"] is True
