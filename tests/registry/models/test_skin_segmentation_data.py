"""The data set: reproducible, importable from the usual layouts, and checked for what goes wrong in practice."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from registry.cases.records import LabelledInput
from registry.cases.splits import SPLITS, Shares
from registry.core.errors import DataError
from registry.core.media import Case
from registry.models.skin_segmentation import SPEC, nifti, phantom
from registry.models.skin_segmentation.data import files_of
from registry.models.skin_segmentation.inference import SkinResult
from tests.registry.models.conftest import SMALL

data = SPEC.data
inference = SPEC.inference
score = SPEC.score
HALF = Shares(0.25, 0.25)


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def volumes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return nifti.read(case.input.read_bytes(), 10**7).voxels, score.truth(case.truth).mask


def test_the_same_seed_gives_the_same_bytes(starter: Path, tmp_path: Path) -> None:
    data.synthesise(tmp_path, SMALL)
    assert contents(tmp_path) == contents(starter)
    data.synthesise(other := tmp_path / "other", {**SMALL, "seed": 8})
    assert not set(contents(other).values()) & set(contents(starter).values()) - {contents(starter)["cases.csv"]}


def test_starter_bytes_are_those_that_were_committed(starter: Path) -> None:
    """data.dvc names one hash for everybody: a change of the phantoms (or of a library under them) shows here."""
    found = hashlib.sha256("".join(contents(starter).values()).encode()).hexdigest()[:16]
    assert found == "7d13602a854ab0ba"


def test_starter_cases_are_what_the_issue_asks_for(starter: Path) -> None:
    cases = data.cases(starter)
    assert [case.split for case in cases].count("train") == 9
    assert len(cases) == 15
    assert {case.attributes["dimensions"] for case in cases} == {"2-D", "3-D"}
    scans = [nifti.read(case.input.read_bytes(), 10**7) for case in cases]
    assert len({scan.spacing for scan in scans}) == 15
    assert len({nib.aff2axcodes(scan.affine) for scan in scans}) > 3
    assert any(np.abs(scan.affine[:3, :3] / scan.spacing).max() < 0.999 for scan in scans), "no oblique scan"
    for case in cases:
        image, mask = volumes(case)
        assert image.shape == mask.shape
        assert 0.03 < mask.mean() < 0.2


def test_no_threshold_finds_the_skin(starter: Path) -> None:
    best = []
    for case in data.cases(starter):
        image, mask = volumes(case)
        edges = np.percentile(image, np.arange(0, 101, 5))
        bands = [(image >= low) & (image <= high) for low in edges for high in edges if high > low]
        best.append(max(2 * (band & (mask > 0)).sum() / (band.sum() + mask.sum()) for band in bands))
    assert np.mean(best) < 0.75


def test_streams_are_reproducible_and_apart_from_the_data(starter: Path) -> None:
    first, again, other = (data.synthesise_stream(3, seed) for seed in (7, 7, 8))
    assert first == again
    images = {hashlib.sha256(item.input).hexdigest() for item in (*first, *other)}
    assert len(images) == 6
    assert not images & set(contents(starter).values())
    for item in first:
        assert nifti.read(item.input, 10**7).voxels.shape == score.truth(item.truth).mask.shape


def test_adding_is_idempotent_by_id_and_by_content(starter: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starter, tmp_path / "set")
    items = data.synthesise_stream(6, 3)
    assert data.add(root, items, "drift", HALF).new == 6
    before = contents(root)
    assert data.add(root, items, "drift", HALF).new == 0
    assert data.add(root, [LabelledInput("renamed", items[0].input, items[0].truth)], "drift", HALF).new == 0
    assert contents(root) == before
    added = [case for case in data.cases(root) if case.origin == "drift"]
    assert len(added) == 6
    assert {case.split for case in added} == set(SPLITS)


def test_add_refuses_what_cannot_be_learnt_from_and_that_keeps_nothing_else_back(starter: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starter, tmp_path / "set")
    before = contents(root)
    one, other = data.synthesise_stream(2, 3)
    small = nifti.write_new(np.zeros((4, 4, 1), np.uint8), np.eye(4), 2)
    bad = [
        LabelledInput("nonsense", b"nonsense", b""),
        LabelledInput("no-mask", one.input, b""),
        LabelledInput("small", one.input, small),
        LabelledInput("the-picture", one.input, one.input),
    ]
    added = data.add(root, bad, "drift", HALF)
    names = [said.partition(":")[0] for said in added.refused]
    assert (added.new, names) == (0, ["no-mask", "nonsense", "small", "the-picture"])
    assert "the label has 4 x 4 x 1 voxels" in added.refused[2]
    assert "holds the value" in added.refused[3]
    assert contents(root) == before
    assert data.add(root, [*bad, other], "drift", HALF).new == 1
    assert "shape" not in failing(root)


@pytest.mark.parametrize("text", [None, "a,b\n1,2\n", "case,split,origin,dimensions\nx,holdout,me,2-D\n"])
def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(DataError, match=r"cases\.csv"):
        data.cases(tmp_path)


def failing(root: Path) -> dict[str, list[str]]:
    """Column -> cases that break the model's own checks, found with plain pandas."""
    table, found = data.inspect(root), {}
    for check in data.checks():
        said, kind = check.arguments, check.expectation
        column = said.get("column") or said["column_A"]
        values = table[column]
        if kind == "expect_column_distinct_values_to_contain_set":
            if missing := set(said["value_set"]) - set(values):
                found[column] = sorted(missing)
            continue
        if kind == "expect_column_pair_values_to_be_equal":
            other = table[said["column_B"]]
            bad = (values != other) & values.notna() & other.notna()
        elif "value_set" in said:
            bad = ~values.isin(said["value_set"]) & values.notna()
        elif kind == "expect_column_values_to_be_between":
            low, high = said.get("min_value", -np.inf), said.get("max_value", np.inf)
            bad = (values <= low if said.get("strict_min") else values < low) | (values > high)
        elif kind == "expect_column_values_to_be_null":
            bad = values.notna()
        elif kind == "expect_column_values_to_not_be_null":
            bad = values.isna()
        else:
            assert kind == "expect_column_values_to_be_unique"
            bad = values.duplicated(keep=False) & values.notna()
        if bad.any():
            found[column] = sorted(table["case"][bad])
    return found


def rewrite(path: Path, change: object, affine: np.ndarray | None = None) -> None:
    volume = nifti.read(path.read_bytes(), 10**7)
    voxels = change(volume.voxels)  # type: ignore[operator]
    path.write_bytes(nifti.write_new(voxels, volume.affine if affine is None else affine, volume.ndim))


def test_the_starter_data_passes_its_checks(starter: Path) -> None:
    assert failing(starter) == {}


@pytest.mark.parametrize(
    ("file", "column", "damage"),
    [
        ("image", "image_error", lambda p: p.write_bytes(p.read_bytes()[:5000])),
        ("image", "image_error", lambda p: rewrite(p, lambda v: np.where(v > v.mean(), np.nan, v).astype("f4"))),
        ("image", "image_error", lambda p: p.unlink()),
        ("mask", "mask_error", lambda p: p.unlink()),
        ("mask", "mask_error", lambda p: p.write_bytes(b"")),
        ("mask", "shape", lambda p: rewrite(p, lambda v: v[:-1].astype("u1"))),
        ("mask", "affine_gap", lambda p: rewrite(p, lambda v: v.astype("u1"), np.diag([3.0, 1, 1, 1]))),
        ("mask", "mask_values", lambda p: rewrite(p, lambda v: (v * 7).astype("u1"))),
        ("mask", "foreground_share", lambda p: rewrite(p, lambda v: np.zeros_like(v, dtype="u1"))),
        ("mask", "foreground_share", lambda p: rewrite(p, lambda v: (1 - v).astype("u1"))),
        ("image", "range", lambda p: rewrite(p, lambda v: np.full_like(v, 5).astype("i2"))),
    ],
)
def test_damage_is_found_and_the_case_named(
    starter: Path, tmp_path: Path, file: str, column: str, damage: object
) -> None:
    root = shutil.copytree(starter, tmp_path / "set")
    damage(root / "train" / "train-002" / f"{file}.nii.gz")  # type: ignore[operator]
    assert failing(root)[column] == ["train-002"]


def test_copies_and_leaks_are_found_whatever_the_compression(starter: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starter, tmp_path / "set")
    source = (root / "train" / "train-001" / "image.nii.gz").read_bytes()
    for name in ("image", "mask"):
        body = gzip.decompress((root / "train" / "train-001" / f"{name}.nii.gz").read_bytes())
        (root / "val" / "val-000" / f"{name}.nii.gz").write_bytes(gzip.compress(body))
    assert source != (root / "val" / "val-000" / "image.nii.gz").read_bytes()
    assert failing(root) == {"content": ["train-001", "val-000"]}


def test_a_folder_that_the_table_does_not_know_is_found(starter: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starter, tmp_path / "set")
    stray = root / "train" / "stray"
    stray.mkdir()
    (stray / "mask.nii.gz").write_bytes(data.synthesise_stream(1, 1)[0].truth)  # type: ignore[arg-type]
    found = failing(root)
    assert found["row"] == ["stray"]
    assert found["image_error"] == ["stray"]


LAYOUTS = {
    "a folder a case": ("train/{0}/image.nii.gz", "train/{0}/mask.nii.gz",
                        "val/{1}/image.nii.gz", "val/{1}/mask.nii.gz"),
    "nnU-Net": ("imagesTr/{0}_0000.nii.gz", "labelsTr/{0}.nii.gz", "imagesTr/{1}_0000.nii.gz", "labelsTr/{1}.nii.gz"),
    "decathlon": ("imagesTr/{0}.nii.gz", "labelsTr/{0}.nii.gz", "imagesTr/{1}.nii.gz", "labelsTr/{1}.nii.gz"),
    "images and masks": ("images/{0}.nii", "masks/{0}.nii", "images/{1}.nii", "masks/{1}.nii"),
    "split above": ("train/images/{0}.nii", "train/labels/{0}.nii", "val/images/{1}.nii", "val/labels/{1}.nii"),
    "flat": ("{0}.nii.gz", "{0}_mask.nii.gz", "{1}.nii.gz", "{1}_seg.nii.gz"),
}  # fmt: skip


def lay(source: Path, names: tuple[str, ...]) -> None:
    items = data.synthesise_stream(2, 5)
    bodies = [part for item in items for part in (item.input, item.truth)]
    for name, body in zip(names, bodies, strict=True):
        path = source / name.format("anna", "ben")
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(body, bytes)
        path.write_bytes(body if name.endswith(".gz") else gzip.decompress(body))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_imports_the_usual_layouts(layout: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    lay(source, LAYOUTS[layout])
    taken = data.import_from(source, out, {})
    named = "train/" in LAYOUTS[layout][0]
    assert (taken.train, taken.val, taken.test, taken.unlabelled) == ((1, 1, 0, 0) if named else (1, 0, 1, 0))
    cases = {case.id: case for case in data.cases(out)}
    assert set(cases) == {"anna", "ben"}
    if named:
        assert (cases["anna"].split, cases["ben"].split) == ("train", "val")
    for case, item in zip((cases["anna"], cases["ben"]), data.synthesise_stream(2, 5), strict=True):
        image, mask = volumes(case)
        np.testing.assert_array_equal(image, nifti.read(item.input, 10**7).voxels)
        np.testing.assert_array_equal(mask, score.truth(item.truth).mask)
    assert failing(out) == {"split": ["test" if named else "val"]}


def test_images_without_masks_are_kept_for_prediction_and_other_files_left_out(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    lay(source, LAYOUTS["a folder a case"])
    (source / "train" / "anna" / "body_mask.nii.gz").write_bytes(data.synthesise_stream(1, 5)[0].input)
    (source / "val" / "ben" / "mask.nii.gz").unlink()
    taken = data.import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (1, 0, 1)
    assert "body_mask" in taken.notes[0]
    assert (out / "unlabelled" / "ben.nii.gz").is_file()


def test_a_mask_without_its_image_is_named(tmp_path: Path) -> None:
    lay(tmp_path / "source", LAYOUTS["flat"])
    (tmp_path / "source" / "ben.nii.gz").unlink()
    with pytest.raises(DataError, match=r"ben_seg\.nii\.gz"):
        data.import_from(tmp_path / "source", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_unreadable_files_are_all_named(tmp_path: Path) -> None:
    lay(tmp_path / "source", LAYOUTS["images and masks"])
    for name in ("images/anna.nii", "masks/ben.nii"):
        (tmp_path / "source" / name).write_bytes(b"not an image, whatever its name says" * 20)
    with pytest.raises(DataError) as caught:
        data.import_from(tmp_path / "source", tmp_path / "out", {})
    assert "images/anna.nii" in caught.value.found
    assert "masks/ben.nii" in caught.value.found


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.nii"):
        data.import_from(tmp_path, tmp_path / "out", {})


def test_a_prediction_equal_to_the_truth_scores_one(starter: Path) -> None:
    for case in data.cases(starter):
        sample = inference.decode(case.input.read_bytes(), 10**7)
        true = score.truth(case.truth)
        result = SkinResult.of(true.mask, sample)
        empty = SkinResult.of(np.zeros_like(true.mask), sample)
        assert score.score([result], [true]) == 1.0
        assert score.score([empty], [true]) == 0.0
        assert score.score([result, empty], [true, true]) == 0.5


def test_names_that_become_one_folder_stay_two_cases(tmp_path: Path) -> None:
    names = ("scan 1", "scan-1", "scan_1", "SCAN-1", "scan-1-2", "?", "!")
    images = {}
    for n, name in enumerate(names):
        image, mask = files_of(phantom.make(np.random.default_rng(n), 2))
        (tmp_path / f"{name}.nii.gz").write_bytes(image)
        (tmp_path / f"{name}_mask.nii.gz").write_bytes(mask)
        images[name] = image
    said = data.import_from(tmp_path, tmp_path / "out", {})
    cases = data.cases(tmp_path / "out")
    assert len(cases) == len(names) == said.train + said.val + said.test
    assert len({case.id.casefold() for case in cases}) == len(names)
    assert {case.input.read_bytes() for case in cases} == set(images.values())
    assert "scan-1-2" in {case.id for case in cases}
