"""The committed suite of each model is what its `checks()` say, and it is what a data check runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitoring.checks import suites, validate
from registry.contract import catalog
from registry.core.errors import DataError
from registry.core.settings import settings


@pytest.mark.parametrize("model", sorted(path.stem for path in suites.FOLDER.glob("*.json")))
def test_the_committed_suite_is_what_the_model_checks(model: str) -> None:
    text = suites.path_of(model).read_text(encoding="utf-8")
    assert text == suites.text_of(model), f"`python -m monitoring.checks.suites {model}` writes it anew"


def test_rules_look_at_measured_columns_and_not_at_flags(home: Path) -> None:
    for model in ("skin_segmentation", "suspect_classification", "face_gender"):
        part = catalog.get(model).data
        root = home / "data" / model
        part.synthesise(root, {"seed": 3, "train": 3, "val": 1, "test": 1})
        table = part.inspect(root)
        for check in part.checks():
            for key in ("column", "column_A", "column_B"):
                if key in check.arguments:
                    assert table[check.arguments[key]].dtype != bool, check


def test_the_file_is_what_runs(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's own limit counts from the next check on."""
    model = "suspect_classification"
    catalog.get(model).data.synthesise(settings().data / model, {"seed": 3, "train": 12, "val": 8, "test": 8})
    body = json.loads(suites.path_of(model).read_text(encoding="utf-8"))
    monkeypatch.setattr(suites, "FOLDER", tmp_path)
    for one in body["expectations"]:
        if one["kwargs"].get("column") == "width":
            one["kwargs"]["min_value"], one["severity"] = 500, "warning"
    suites.path_of(model).write_text(json.dumps(body))
    found = validate.validate(model)
    assert [outcome.column for outcome in found.warnings] == ["width"]
    assert found.breaches == []
    docs = settings().var / "data-docs"
    assert found.docs.is_relative_to(docs / "validations" / model)
    assert (docs / "expectations" / f"{model}.html").is_file()
    suites.path_of(model).write_text("{}")
    with pytest.raises(DataError, match=r"is not a suite"):
        validate.validate(model)
