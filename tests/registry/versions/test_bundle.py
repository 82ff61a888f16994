from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from registry.core import journal
from registry.core.errors import BundleError, StorageError
from registry.core.files import disk_errors, new_folder, write_file
from registry.versions.bundle import MANIFEST, Bundle, open_bundle, seal
from registry.versions.predictor import Predictor
from tests.bundles import make_scan


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


def test_a_bundle_opens_as_it_was_sealed(tiny_bundle: Bundle) -> None:
    again = open_bundle(tiny_bundle.path)
    assert again.manifest == tiny_bundle.manifest
    assert again.digest == tiny_bundle.digest
    assert set(again.manifest.files) >= {"network.onnx", "reference.parquet", "weights.safetensors"}


def test_nothing_in_a_bundle_is_a_pickle(tiny_bundle: Bundle) -> None:
    for path in tiny_bundle.path.rglob("*"):
        if path.is_file():
            assert path.suffix not in (".pkl", ".pt", ".pth", ".joblib")
            assert not path.read_bytes().startswith((b"\x80\x04", b"\x80\x05"))


@pytest.mark.parametrize("name", ["network.onnx", "reference.parquet", "weights.safetensors"])
def test_a_changed_file_is_noticed(copy: Path, name: str) -> None:
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    (copy / name).write_bytes(bytes(raw))
    with pytest.raises(BundleError, match=name):
        open_bundle(copy)


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "network.onnx").unlink()
    with pytest.raises(BundleError, match=r"network\.onnx is missing"):
        open_bundle(copy)


@pytest.mark.parametrize("damage", ["{", "{}", '{"model": 3}'])
def test_a_malformed_manifest_is_named(copy: Path, damage: str) -> None:
    (copy / MANIFEST).write_text(damage)
    with pytest.raises(BundleError, match="malformed"):
        open_bundle(copy)


def test_an_unknown_key_in_the_manifest_is_refused(copy: Path) -> None:
    said = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**said, "surprise": 1}))
    with pytest.raises(BundleError, match="malformed"):
        open_bundle(copy)


def test_golden_samples_pass_and_a_wrong_preprocessing_fails_them(copy: Path) -> None:
    assert Predictor.load(copy, threads=1).check_golden() == 2
    bundle = open_bundle(copy)
    wrong = bundle.manifest.model_copy(update={"thresholds": {**bundle.manifest.thresholds, "probability": 0.9999}})
    (copy / MANIFEST).unlink()
    seal(copy, wrong)
    with pytest.raises(BundleError, match="golden sample"):
        Predictor.load(copy, threads=1).check_golden()


def test_a_prediction_carries_what_the_monitor_needs(tiny_bundle: Bundle) -> None:
    found = Predictor.load(tiny_bundle.path, threads=1)(make_scan(5, (64, 48, 4)))
    assert found.embedding.ndim == 1
    assert np.isfinite(found.embedding).all()
    assert set(found.seconds) == {"decode", "preprocess", "network", "postprocess"}
    assert all(np.isfinite(v) for v in {**found.image_statistics, **found.prediction_statistics}.values())


def test_a_write_that_fails_leaves_the_old_folder_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with new_folder(target) as draft:
        (draft / "a").write_text("old")

    def fail() -> None:
        with new_folder(target) as draft:
            (draft / "a").write_text("new")
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_full_disk_is_one_clear_message() -> None:
    """/dev/full is the kernel's own full disk."""

    def fill() -> None:
        with disk_errors(Path("/dev/full")), open("/dev/full", "wb", buffering=0) as out:
            out.write(b"x")

    with pytest.raises(StorageError, match="disk is full"):
        fill()


def test_write_file_replaces_in_one_step(tmp_path: Path) -> None:
    path = write_file(tmp_path / "deep" / "file", "one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_the_journal_reads_whole_lines_only(workspace: Path) -> None:
    journal.fact("train", "one")
    lines, offset = journal.read()
    with journal.path().open("ab") as out:
        out.write(b'{"kind": "fact", "te')
    assert [line["text"] for line in lines] == ["one"]
    assert journal.read(offset) == ([], offset)


def test_a_failed_step_keeps_the_error_for_other_processes(workspace: Path) -> None:
    with pytest.raises(BundleError), journal.step("evaluate", "Evaluating", "m"):
        raise BundleError("half a bundle", expected="a whole one", fix="again")
    last = journal.read()[0][-1]
    assert last["outcome"] == "failed"
    assert last["error"] == {
        "error": "BundleError",
        "found": "half a bundle",
        "expected": "a whole one",
        "fix": "again",
    }
