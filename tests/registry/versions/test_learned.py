"""What a version learned from is in its bundle: an input that taught or chose is no test of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from registry.core.errors import BundleError
from registry.core.media import Case
from registry.versions import learned
from registry.versions.bundle import Score, open_bundle, seal
from tests.bundles import make_tiny_bundle


def case(folder: Path, name: str, split: str, origin: str = "starter") -> Case:
    path = folder / f"{name}.bin"
    path.write_bytes(name.encode())
    return Case(name, split, origin, path, "none")


def test_train_and_val_are_learned_from_and_test_is_not(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    splits = {"a": ("train", "starter"), "b": ("val", "drift-1"), "c": ("test", "drift-2")}
    cases = [case(tmp_path, name, *where) for name, where in splits.items()]
    learned.write(bundle.path, cases, None)
    found = learned.of(bundle)
    assert found.recorded
    assert sorted(found.contents.values()) == ["train", "val"]
    assert found.origins == {"starter", "drift-1"}
    assert found.among(cases) == ["a", "b"]


def test_a_fine_tuned_version_learned_from_what_its_parent_did(tmp_path: Path) -> None:
    """After `data import --force` a case that taught the champion may lie in the new data set's test part."""
    parent = make_tiny_bundle(tmp_path / "parent")
    old = [case(tmp_path, "a", "train"), case(tmp_path, "b", "train", "drift-1")]
    learned.write(parent.path, old, None)
    child = make_tiny_bundle(tmp_path / "child")
    new = [replace(old[0], split="test", id="renamed"), case(tmp_path, "c", "train", "imported")]
    learned.write(child.path, new, parent)
    found = learned.of(child)
    assert found.among(new) == ["renamed", "c"]
    assert found.origins == {"starter", "drift-1", "imported"}


def test_a_bundle_from_before_there_was_a_record_has_its_slices_origins(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    slices = {"origin=drift-1": Score(value=1, low=1, high=1, cases=2), "dimensions=2-D": bundle.manifest.score}
    seal(bundle.path, bundle.manifest.model_copy(update={"slices": slices}))
    found = learned.of(open_bundle(bundle.path, verify=False))
    assert (found.recorded, found.origins) == (False, {"drift-1"})
    assert found.among([case(tmp_path, "a", "train")]) == []


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    (bundle.path / learned.LEARNED).write_bytes(b"nonsense")
    with pytest.raises(BundleError, match=r"learned\.parquet cannot be read"):
        learned.of(bundle)
