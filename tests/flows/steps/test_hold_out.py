"""`visionloop data hold-out`: a data set from before there was a test part gets one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.steps import hold_out
from registry.contract import catalog
from registry.core.errors import DataError, Refused
from registry.core.settings import settings

MODELS = ("skin_segmentation", "suspect_classification", "face_gender")  # volumes, class folders, boxes


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    settings.cache_clear()


def outcome(model: str, root: Path) -> set[str]:
    """What the failing checks say."""
    from monitoring.checks import validate

    return {breach.says for breach in validate.validate(model, root).breaches}


@pytest.mark.parametrize("model", MODELS)
def test_half_of_val_becomes_test_with_files_and_table(model: str) -> None:
    part, root = catalog.get(model).data, settings().data / model
    part.synthesise(root, {"seed": 3, "train": 4, "val": 6, "test": 0})
    before = {case.id: (case.split, case.input.read_bytes()) for case in part.cases(root)}
    assert "there is no test part: no case is held out (test)" in outcome(model, root)
    assert hold_out(model, 0.5) == 3
    after = {case.id: (case.split, case.input.read_bytes()) for case in part.cases(root)}
    assert {name: body for name, (_, body) in after.items()} == {name: body for name, (_, body) in before.items()}
    assert {name for name, (split, _) in after.items() if split == "train"} == {
        name for name, (split, _) in before.items() if split == "train"
    }
    assert sorted(split for split, _ in after.values()) == ["test"] * 3 + ["train"] * 4 + ["val"] * 3
    found = outcome(model, root)
    assert not [said for said in found if "test part" in said or "cases.csv" in said or "missing" in said], found
    with pytest.raises(Refused, match="has a test split already"):
        hold_out(model, 0.5)


def test_one_validation_case_cannot_be_shared_and_nothing_moves() -> None:
    part, root = catalog.get("suspect_classification").data, settings().data / "suspect_classification"
    part.synthesise(root, {"seed": 3, "train": 4, "val": 1, "test": 0})
    with pytest.raises(DataError, match="1 validation cases of 1 groups"):
        hold_out("suspect_classification", 0.5)
    assert [case.split for case in part.cases(root)].count("val") == 1
