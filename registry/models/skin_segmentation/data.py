"""The data set: `{train,val,test}/<case>/{image,mask}.nii.gz` and `cases.csv`, which says where each case came from."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from registry import groups
from registry.errors import BadInput, DataError
from registry.files import write_file
from registry.media import Case, Volume
from registry.models.skin_segmentation import importing, nifti, phantom, score
from registry.parts import Added, Check, Imported, Labelled, Parameters
from registry.splits import SPLITS, Shares
from registry.vision.table import safe

TABLE = "cases.csv"
COLUMNS = ("case", "split", "origin", "dimensions")
GROUP = "group"  # a column more, where there are groups
IMAGE, MASK = "image.nii.gz", "mask.nii.gz"
MAX_VOXELS = 512_000_000
STREAM = 0x5EED  # keeps streams apart from the starter data, whatever their seeds
IN_3D = 8  # every eighth case is a volume


def synthesise(out: Path, params: Parameters) -> None:
    """Writes phantoms: `train`, `val` and `test` cases (96, 24 and 40), every eighth one 3-D. Seeded by `seed`."""
    rows = []
    for number, split in enumerate(SPLITS):
        for n in range(int(params.get(split, (96, 24, 40)[number]))):
            rng = np.random.default_rng([int(params["seed"]), number, n])
            one = phantom.make(rng, 3 if n % IN_3D == IN_3D - 1 else 2)
            case = f"{split}-{n:03d}"
            _write_case(out / split / case, *_files(one))
            rows.append(_row(case, split, "starter", one.ndim))
    _write_table(out, rows)


def synthesise_stream(count: int, seed: int) -> list[Labelled]:
    """Phantoms that are in no data set; the same ones for a seed."""
    items = []
    for n in range(count):
        one = phantom.make(np.random.default_rng([STREAM, seed, n]), 3 if n % IN_3D == IN_3D - 1 else 2)
        image, mask = _files(one)
        items.append(Labelled(f"stream-{seed}-{n:04d}", image, mask))
    return items


def _files(one: phantom.Phantom) -> tuple[bytes, bytes]:
    return nifti.write_new(one.voxels, one.affine, one.ndim), nifti.write_new(one.mask, one.affine, one.ndim)


def import_from(source: Path, out: Path, params: Parameters) -> Imported:
    """Copies image/mask pairs found in `source`; see `importing.find` for the layouts.

    What the source lacks of the three parts is set aside by the hash of the cases' names: `val_share` and `test_share`
    (defaults of `registry.splits.Shares`). Images without a mask go to `unlabelled/`, for prediction only.

    Raises:
        DataError: nothing to import, a mask without its image, or a file that cannot be read; names them all.
    """
    found = importing.find(source)
    problems = [problem for pair in found.pairs for problem in _unusable(pair, source)]
    if problems:
        raise DataError(
            f"{len(problems)} of the files in {source} cannot be used:\n  " + "\n  ".join(problems[:20]),
            expected="2-D or 3-D scalar NIfTI files, each mask on its image's grid",
            mend="mend or remove these files and import again; nothing was imported",
        )
    together, grouped = importing.grouped(found.pairs, source, params.get("group_pattern") or "")
    parts, set_aside = importing.assign(found.pairs, Shares.of(params), together)
    rows, counts, loose = [], dict.fromkeys(SPLITS, 0), 0
    for pair in found.pairs:
        image = pair.image.read_bytes()
        if pair.mask is None:
            write_file(out / "unlabelled" / f"{pair.id}.nii.gz", _packed(image))
            loose += 1
            continue
        split = parts[pair.id]
        _write_case(out / split / pair.id, image, pair.mask.read_bytes())
        ndim = nifti.read(image, MAX_VOXELS).ndim
        rows.append(_row(pair.id, split, "imported", ndim, together.get(pair.id, "")))
        counts[split] += 1
    _write_table(out, rows)
    return Imported(**counts, unlabelled=loose, notes=(*found.notes, *grouped, *set_aside))


def _unusable(pair: importing.Pair, source: Path) -> list[str]:
    """What is wrong with a pair's files; mask values and the like are for `checks`."""
    problems, shapes = [], set()
    for path in (pair.image, pair.mask):
        if path is None:
            continue
        try:
            shapes.add(nifti.read(path.read_bytes(), MAX_VOXELS).voxels.shape)
        except BadInput as error:
            problems.append(f"{path.relative_to(source)}: {error.found}")
    if len(shapes) > 1 and pair.mask is not None:
        problems.append(f"{pair.mask.relative_to(source)}: not of the shape of {pair.image.relative_to(source)}")
    return problems


def cases(root: Path) -> list[Case]:
    """As `DataPart.cases`."""
    return [
        Case(
            id=row["case"],
            split=row["split"],
            origin=row["origin"],
            input=root / row["split"] / row["case"] / IMAGE,
            truth=root / row["split"] / row["case"] / MASK,
            attributes={"dimensions": row["dimensions"]},
            group=row[GROUP],
        )
        for row in _read_table(root)
    ]


def add(root: Path, items: Sequence[Labelled], origin: str, shares: Shares) -> Added:
    """As `DataPart.add`; a case's split follows from the hash of its id. An image that is there already, under
    whatever name, is not added again: it could end up on both sides of the split."""
    rows = _read_table(root)
    known = {row["case"] for row in rows}
    fresh = {safe(item.id): item for item in reversed(items) if safe(item.id) not in known}
    if not fresh:
        return Added(0)
    images = (_try_read(case.input)[0] for case in cases(root))
    contents = {_content(image) for image in images if image is not None}
    new, refused = [], []
    for case, item in sorted(fresh.items()):
        try:
            body, truth = item.body, item.truth if isinstance(item.truth, bytes) else Path(item.truth).read_bytes()
            volume = nifti.read(body, MAX_VOXELS)
            score.check(truth, body)  # else it would stop every later training at the data check
        except BadInput as error:
            refused.append(f"{item.id}: {error.found}")
            continue
        except OSError:
            continue  # its retention time is over
        if (content := _content(volume)) in contents:
            continue
        contents.add(content)
        split = shares.split(case)
        _write_case(root / split / case, body, truth)
        new.append(_row(case, split, origin, volume.ndim))
    if new:
        _write_table(root, [*rows, *new])
    return Added(len(new), tuple(refused))


def move(root: Path, cases: Collection[str], split: str) -> None:
    """As `DataPart.move`."""
    rows = []
    for row in _read_table(root):
        if row["case"] in cases and row["split"] != split:
            (root / split).mkdir(exist_ok=True)
            (root / row["split"] / row["case"]).rename(root / split / row["case"])
            row = {**row, "split": split}
        rows.append(row)
    _write_table(root, rows)


def inspect(root: Path) -> pd.DataFrame:
    """One row per case of the table, and one per case folder that the table does not know."""
    listed = {(row["split"], row["case"]): row for row in _read_table(root)}
    stray = sorted(
        (split, path.name)
        for split in SPLITS
        if (root / split).is_dir()
        for path in (root / split).iterdir()
        if path.is_dir() and (split, path.name) not in listed
    )
    rows = [
        _inspect(root, split, case, True) | {"origin": row["origin"], GROUP: row[GROUP]}
        for (split, case), row in listed.items()
    ]
    rows += [_inspect(root, split, case, False) | {"origin": "", GROUP: ""} for split, case in stray]
    table = pd.DataFrame(rows)
    table["group_parts"] = groups.parts_of(table["split"].tolist(), table[GROUP].tolist())
    content = table["content"].where(table["content"] != "")
    table["copies"] = content.groupby(content).transform("size").fillna(1).astype(int)
    splits = table["split"].groupby(content).transform("nunique").fillna(1)
    table["leaks"] = splits > 1
    for split, name in zip(SPLITS, ("training_cases", "validation_cases", "test_cases"), strict=True):
        table[name] = int((table["split"] == split).sum())
    return table


def _inspect(root: Path, split: str, case: str, listed: bool) -> dict[str, object]:
    folder = root / split / case
    image, image_problem = _try_read(folder / IMAGE)
    mask, mask_problem = _try_read(folder / MASK)
    row: dict[str, object] = {
        "case": case,
        "split": split,
        "listed": listed,
        "image_readable": image is not None,
        "mask_readable": mask is not None,
        "problem": "; ".join(filter(None, (image_problem, mask_problem))),
        "content": _content(image) if image is not None else "",
        "range": float(np.ptp(image.voxels)) if image is not None else float("nan"),
        "foreground_share": float((mask.voxels != 0).mean()) if mask is not None else float("nan"),
        "mask_binary": None if mask is None else bool(np.isin(mask.voxels, (0, 1)).all()),
        "shape_agrees": None,
        "affine_agrees": None,
    }
    if image is not None and mask is not None:
        row["shape_agrees"] = image.voxels.shape == mask.voxels.shape
        # Half a hundredth of a voxel: qform-only files differ by their quaternion's float32 rounding.
        row["affine_agrees"] = bool(np.abs(image.affine - mask.affine).max() <= 0.005 * max(1.0, *image.spacing))
    return row


def _try_read(path: Path) -> tuple[Volume | None, str]:
    try:
        return nifti.read(path.read_bytes(), MAX_VOXELS), ""
    except OSError:
        return None, f"{path.name} is missing or unreadable"
    except BadInput as error:
        return None, f"{path.name}: {error.found}"


def _content(volume: Volume) -> str:
    return hashlib.sha256(str(volume.voxels.shape).encode() + volume.voxels.tobytes(order="F")).hexdigest()[:16]


def checks() -> Sequence[Check]:
    """What must hold of `inspect`'s table."""
    in_set, between = "expect_column_values_to_be_in_set", "expect_column_values_to_be_between"

    def holds(column: str, says: str, mend: str) -> Check:
        return Check(in_set, {"column": column, "value_set": [True]}, says, mend)

    def some(column: str, says: str, mend: str) -> Check:
        return Check(between, {"column": column, "min_value": 1}, says, mend)

    again = "import your data again with `visionloop data import skin_segmentation PATH`"
    return (
        some("training_cases", "there is nothing to train on: no case is in train", f"{again}, or add cases"),
        some("validation_cases", "there is nothing to choose the epoch by: no case is in val",
             f"{again}: what the source lacks is set aside"),
        some("test_cases", "there is no test part: no case is held out (test)",
             f"`visionloop data hold-out skin_segmentation` moves a share of val there; or {again}"),
        holds("listed", "{rows}: these folders are not in cases.csv",
              "add them with `visionloop data import`, or remove"),
        holds("image_readable", "{rows}: image.nii.gz is missing or is no finite 2-D or 3-D NIfTI",
              "export these images again, or remove the cases"),
        holds("mask_readable", "{rows}: mask.nii.gz is missing or is no finite 2-D or 3-D NIfTI",
              "export these masks again, or remove the cases"),
        holds("shape_agrees", "{rows}: image and mask have different shapes", "draw the mask on the image's own grid"),
        holds("affine_agrees", "{rows}: image and mask lie at different places in space (their affines differ)",
              "resample the mask to the image, or copy the image's affine if only the header is wrong"),
        holds("mask_binary", "{rows}: the mask holds other values than 0 and 1",
              "keep the skin label only and set it to 1"),
        Check(between, {"column": "foreground_share", "min_value": 0.001, "max_value": 0.6},
              "{rows}: the share of skin is outside 0.1 % to 60 %",
              "look at these masks: empty, inverted or of another organ?"),
        Check(between, {"column": "range", "min_value": 0, "strict_min": True},
              "{rows}: the image is constant", "export these images again, or remove the cases"),
        Check(between, {"column": "group_parts", "min_value": 1, "max_value": 1},
              "{rows}: their group (a patient's scans) is in two parts (leakage)",
              f"move all cases of a group to one part of the source, and {again}"),
        Check("expect_column_values_to_be_unique", {"column": "case"},
              "{rows}: the name is used twice", "rename the cases"),
        Check(in_set, {"column": "copies", "value_set": [1]},
              "{rows}: the same image is there more than once", "keep one of each"),
        Check(in_set, {"column": "leaks", "value_set": [False]},
              "{rows}: the same image is in two splits (leakage)", "remove it from one of them"),
    )  # fmt: skip


def _packed(body: bytes) -> bytes:
    return body if body[:2] == nifti.GZIP else gzip.compress(body, compresslevel=4, mtime=0)


def _write_case(folder: Path, image: bytes, mask: bytes) -> None:
    write_file(folder / IMAGE, _packed(image))
    write_file(folder / MASK, _packed(mask))


def _row(case: str, split: str, origin: str, ndim: int, group: str = "") -> dict[str, str]:
    return {"case": case, "split": split, "origin": origin, "dimensions": f"{ndim}-D", GROUP: group}


def _write_table(root: Path, rows: Sequence[dict[str, str]]) -> None:
    columns = (*COLUMNS, GROUP) if any(row[GROUP] for row in rows) else COLUMNS
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (row["case"], row["split"])))
    write_file(root / TABLE, text.getvalue())


def _read_table(root: Path) -> list[dict[str, str]]:
    path = root / TABLE
    mend = "make the starter data with `visionloop data synth skin_segmentation`, or import your own"
    if not path.is_file():
        raise DataError(f"there is no {path}", expected="a data set of skin_segmentation", mend=mend)
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) not in (COLUMNS, (*COLUMNS, GROUP)):
            raise DataError(f"{path} has the columns {reader.fieldnames}", expected=",".join(COLUMNS), mend=mend)
        rows = sorted(({GROUP: "", **row} for row in reader), key=lambda row: row["case"])
    wrong = sorted({row["split"] for row in rows} - set(SPLITS))
    if wrong:
        raise DataError(f"{path} names the splits {', '.join(wrong)}", expected=", ".join(SPLITS), mend=mend)
    return rows
