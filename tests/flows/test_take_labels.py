"""Labelled predictions become cases; what cannot be learnt from is left out and told, and keeps nothing else back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.steps import data
from registry import catalog
from registry.bundle import Score, open_bundle, seal
from registry.errors import DataError, Refused
from registry.parts import Labelled
from registry.settings import settings
from registry.splits import Shares
from registry.versions import Versions
from registry.vision.dataset import BoxSet
from tests.bundles import MODEL, make_tiny_bundle
from tests.databases import own_database
from tests.registry.vision.made import CLASSES, box_set, some_boxes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    box_set().synthesise(tmp_path / "set", {"seed": 1, "train": 4, "val": 3, "test": 3})
    return tmp_path / "set"


def test_bad_items_are_named_and_the_others_added(root: Path) -> None:
    part = box_set()
    items = part.synthesise_stream(9, 4)
    items[2] = Labelled("unknown-class", items[2].input, b"9 0.5 0.5 0.1 0.1")
    items[5] = Labelled("a-clip", b"\x1a\x45\xdf\xa3 a video", items[5].truth)
    added, refused = data._add(part, root, items, "drift-1")
    assert added == 7
    assert [said.split(":")[0] for said in refused] == ["unknown-class", "a-clip"]
    assert {case.id for case in part.cases(root) if case.origin == "drift-1"} == {
        item.id for n, item in enumerate(items) if n not in (2, 5)
    }
    assert data._add(part, root, items, "drift-1") == (0, refused)


def test_a_broken_data_set_is_its_own_error(root: Path) -> None:
    (root / "cases.csv").unlink()
    with pytest.raises(DataError, match=r"cases\.csv"):
        data._add(box_set(), root, [], "drift-1")


def test_every_model_s_stream_can_be_added_to_its_data(tmp_path: Path) -> None:
    for name in catalog.names():
        part = catalog.get(name).data
        part.synthesise(tmp_path / name, {"seed": 2, "train": 3, "val": 2, "test": 2})
        assert data._add(part, tmp_path / name, part.synthesise_stream(3, 5), "drift-1") == (3, [])


def test_a_set_of_other_classes_is_its_own_error(root: Path) -> None:
    with pytest.raises(DataError, match="numbers other classes"):
        data._add(BoxSet("finder", CLASSES[:2], some_boxes), root, [], "drift-1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a champion, whose data holds labelled predictions of an origin that it was not trained with."""
    monkeypatch.chdir(tmp_path)  # MLflow without a server keeps artifacts where one is
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    settings.cache_clear()
    part, folder = catalog.get(MODEL).data, tmp_path / "data" / MODEL
    part.synthesise(folder, {"seed": 1, "train": 3, "val": 2, "test": 2})
    assert part.add(folder, part.synthesise_stream(4, 9), "drift-aaaaaaaa", Shares(0.25, 0.25)) == 4
    with own_database(tmp_path / "var" / "visionloop.db"):
        versions = Versions()
        versions.promote(versions.register(make_tiny_bundle(tmp_path / "first")))
        yield tmp_path
    settings.cache_clear()


def test_a_retraining_that_failed_is_gone_on_with(project: Path) -> None:
    assert data.take_labels(MODEL, "aaaaaaaa-1") == (0, "drift-aaaaaaaa")
    assert data.take_labels(MODEL, "bbbbbbbb-2") == (0, "drift-aaaaaaaa")


def test_what_the_champion_has_learned_is_not_learned_again(project: Path) -> None:
    bundle = make_tiny_bundle(project / "second", "has learned it")
    score = Score(value=1.0, low=1.0, high=1.0, cases=2)
    (bundle.path / "bundle.json").unlink()
    seal(bundle.path, bundle.manifest.model_copy(update={"slices": {"origin=drift-aaaaaaaa": score}}))
    versions = Versions()
    versions.promote(versions.register(open_bundle(bundle.path)))
    with pytest.raises(Refused, match="no new labelled predictions"):
        data.take_labels(MODEL, "aaaaaaaa-1")
