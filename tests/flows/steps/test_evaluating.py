"""A version is scored without training, on its data set's test cases and on other files; nothing changes."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import cli
from registry.contract import catalog
from registry.core.errors import DataError
from registry.core.settings import settings
from registry.versions.mlflow_registry import Versions
from tests.bundles import AFFINE, MODEL, make_scan, make_tiny_bundle
from tests.mlflow_stores import empty_store


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with one version that finds bright places."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", empty_store(tmp_path / "mlflow.db"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    versions = Versions()
    versions.promote(versions.register(make_tiny_bundle(tmp_path / "bundle")))
    yield tmp_path
    settings.cache_clear()


def _pairs(folder: Path, count: int, wrong: int = 0) -> Path:
    """Scans with masks, of which the first `wrong` are of the dark places."""
    for number in range(count):
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        body = make_scan(number, (64, 48), noise=0.0)
        (folder / "images" / f"{number}.nii.gz").write_bytes(body)
        bright = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(body)).dataobj) > 400
        mask = nib.Nifti1Image((~bright if number < wrong else bright).astype(np.uint8), AFFINE)
        (folder / "masks" / f"{number}.nii.gz").write_bytes(gzip.compress(mask.to_bytes()))
    return folder


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["evaluate", MODEL, *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_files_of_ones_own_are_scored_and_nothing_changes(project: Path, tmp_path: Path) -> None:
    before = Versions().get(MODEL)
    found = json.loads(_run(str(_pairs(tmp_path / "own", 6, wrong=2)), "--json", "--csv", "rows.csv"))
    assert (found["version"], found["score"]["cases"]) == (1, 6)
    assert [one["score"] < 0.3 for one in found["worst"]] == [True, True, False, False, False]
    rows = list(csv.DictReader(Path("rows.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 6
    assert found["score"]["value"] == pytest.approx(np.mean([float(row["score"]) for row in rows]))
    assert Versions().get(MODEL) == before
    assert not (project / "data").exists()


def test_without_files_the_test_cases_are_scored(project: Path, tmp_path: Path) -> None:
    part = catalog.get(MODEL).data
    part.import_from(_pairs(tmp_path / "own", 10), project / "data" / MODEL, {"val_share": 0.2, "test_share": 0.3})
    held = [case for case in part.cases(project / "data" / MODEL) if case.split == "test"]
    text = _run()
    assert text.startswith(f"{MODEL}@1: Dice ")
    assert f", {len(held)} cases" in text


def test_without_test_cases_it_says_what_to_do(project: Path) -> None:
    with pytest.raises(DataError, match="has no test cases"):
        CliRunner().invoke(cli, ["evaluate", MODEL], catch_exceptions=False)
