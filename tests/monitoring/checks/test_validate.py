"""The data check, run as the pipeline runs it, on whole and on broken data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry.contract import catalog
from registry.core.settings import settings
from registry.datasets.hashing import dvc_hash

MODEL = "skin_segmentation"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / MODEL
    root.mkdir()
    catalog.get(MODEL).data.synthesise(root, {"seed": 3, "train": 12, "val": 6, "test": 2})
    return root


@pytest.fixture
def data(home: Path, whole: Path) -> Path:
    root = home / "data" / MODEL
    shutil.copytree(whole, root)
    return root


def check() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitoring.checks", MODEL]
    env = settings().child_environment()
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def assert_readable_offline(docs: Path) -> None:
    files = [*docs.rglob("*.html"), *docs.rglob("*.css")]
    assert {path.name for path in files} >= {"index.html", "latest.html", "style.css"}
    for file in files:
        text = file.read_text()
        assert not re.search(r"(?:src=|href=|url\(|@import)\s*[\"']?(?:https?:)?//", text), file
        assert "<script" not in text
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (file.parent / link).is_file(), f"{file.name} links to {link}"


def test_whole_data_passes_and_leaves_the_same_bytes_each_time(home: Path, data: Path) -> None:
    first = check()
    assert first.returncode == 0, first.stderr
    result = home / "build" / MODEL / "validation" / "result.json"
    once = result.read_bytes()
    said = json.loads(once)
    assert said["valid"]
    assert said["cases"] == 20
    assert said["data_hash"] == dvc_hash(data)
    assert len(said["checks"]) >= 8
    assert check().returncode == 0
    assert result.read_bytes() == once
    assert str(home) not in once.decode()


def test_broken_data_is_named_explained_and_leaves_a_result_that_says_so(home: Path, data: Path) -> None:
    image = data / "train" / "train-000" / "image.nii.gz"
    image.write_bytes(image.read_bytes()[:300])
    shutil.copyfile(data / "val" / "val-001" / "image.nii.gz", data / "train" / "train-005" / "image.nii.gz")
    (data / "train" / "train-004" / "mask.nii.gz").unlink()
    found = check()
    assert found.returncode == 5
    for case in ("train-000", "train-004", "train-005"):
        assert case in found.stderr
    assert "leakage" in found.stderr
    assert "fix: " in found.stderr
    assert "Traceback" not in found.stderr
    result = json.loads((home / "build" / MODEL / "validation" / "result.json").read_text())
    assert result["valid"] is False
    assert_readable_offline(home / "var" / "data-docs")
    page = (home / "var" / "data-docs" / MODEL / "latest.html").read_text()
    assert "Not fit for training" in page
    shown = set(re.findall(r"<figcaption>([^<]+)</figcaption>", page))
    assert {"train-005", "val-001"} <= shown  # the case that cannot be read has no picture
    assert "train-000" not in shown


def test_no_data_set_says_how_to_get_one(home: Path) -> None:
    found = check()
    assert found.returncode == 5
    assert "visionloop data synth" in found.stderr


def test_an_unknown_model_is_a_clear_error(home: Path) -> None:
    command = [sys.executable, "-m", "monitoring.checks", "skin_segmentaton"]
    found = subprocess.run(command, capture_output=True, text=True, env=settings().child_environment(), check=False)
    assert found.returncode == 4
    assert "did you mean 'skin_segmentation'" in found.stderr
