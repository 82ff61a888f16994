"""Labelled predictions become cases; what cannot be learnt from is left out and told, and keeps nothing else back."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.steps import data
from registry import catalog
from registry.errors import DataError
from registry.parts import Labelled
from registry.vision.dataset import BoxSet
from tests.registry.vision.made import CLASSES, box_set, some_boxes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    box_set().synthesise(tmp_path / "set", {"seed": 1, "train": 4, "val": 3})
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
        part.synthesise(tmp_path / name, {"seed": 2, "train": 3, "val": 2})
        assert data._add(part, tmp_path / name, part.synthesise_stream(3, 5), "drift-1") == (3, [])


def test_a_set_of_other_classes_is_its_own_error(root: Path) -> None:
    with pytest.raises(DataError, match="numbers other classes"):
        data._add(BoxSet("finder", CLASSES[:2], some_boxes), root, [], "drift-1")
