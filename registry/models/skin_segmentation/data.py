"""The data set: `{train,val,test}/<case>/{image,mask}.nii.gz` and `cases.csv`, which says where each case came from."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from registry.cases.records import STREAM_SEED, AddResult, Check, ImportResult, LabelledInput
from registry.cases.splits import SPLITS, Shares
from registry.cases.table import slug
from registry.contract.parts import DataPart
from registry.core.errors import BadInput, DataError
from registry.core.files import write_file
from registry.core.media import MAX_CASE_VOXELS, Case, Parameters
from registry.models.skin_segmentation import importing, inspection, nifti, phantom
from registry.models.skin_segmentation.inspection import IMAGE, MASK
from registry.models.skin_segmentation.score import SkinScore

SCORE = SkinScore()
TABLE = "cases.csv"
COLUMNS = ("case", "split", "origin", "dimensions")
GROUP = "group"  # a column more, where there are groups
IN_3D = 8  # every eighth case is a volume


def files_of(one: phantom.Phantom) -> tuple[bytes, bytes]:
    """Image and mask, as NIfTI files."""
    return nifti.write_new(one.voxels, one.affine, one.ndim), nifti.write_new(one.mask, one.affine, one.ndim)


def _unusable(pair: importing.Pair, source: Path) -> list[str]:
    """What is wrong with a pair's files; mask values and the like are for `checks`."""
    problems, shapes = [], set()
    for path in (pair.image, pair.mask):
        if path is None:
            continue
        try:
            shapes.add(nifti.read(path.read_bytes(), MAX_CASE_VOXELS).voxels.shape)
        except BadInput as error:
            problems.append(f"{path.relative_to(source)}: {error.found}")
    if len(shapes) > 1 and pair.mask is not None:
        problems.append(f"{pair.mask.relative_to(source)}: not of the shape of {pair.image.relative_to(source)}")
    return problems


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
    fix = "make the starter data with `visionloop data synth skin_segmentation`, or import your own"
    if not path.is_file():
        raise DataError(f"there is no {path}", expected="a data set of skin_segmentation", fix=fix)
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) not in (COLUMNS, (*COLUMNS, GROUP)):
            raise DataError(f"{path} has the columns {reader.fieldnames}", expected=",".join(COLUMNS), fix=fix)
        rows = sorted(({GROUP: "", **row} for row in reader), key=lambda row: row["case"])
    wrong = sorted({row["split"] for row in rows} - set(SPLITS))
    if wrong:
        raise DataError(f"{path} names the splits {', '.join(wrong)}", expected=", ".join(SPLITS), fix=fix)
    return rows


class SkinData(DataPart):
    """Scans with masks."""

    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes phantoms: `train`, `val` and `test` cases (96, 24 and 40), every eighth one 3-D. Seeded by `seed`."""
        rows = []
        for number, split in enumerate(SPLITS):
            for n in range(int(params.get(split, (96, 24, 40)[number]))):
                rng = np.random.default_rng([int(params["seed"]), number, n])
                one = phantom.make(rng, 3 if n % IN_3D == IN_3D - 1 else 2)
                case = f"{split}-{n:03d}"
                _write_case(out / split / case, *files_of(one))
                rows.append(_row(case, split, "starter", one.ndim))
        _write_table(out, rows)

    def synthesise_stream(self, count: int, seed: int) -> list[LabelledInput]:
        """Phantoms that are in no data set; the same ones for a seed."""
        items = []
        for n in range(count):
            one = phantom.make(np.random.default_rng([STREAM_SEED, seed, n]), 3 if n % IN_3D == IN_3D - 1 else 2)
            image, mask = files_of(one)
            items.append(LabelledInput(f"stream-{seed}-{n:04d}", image, mask))
        return items

    def import_from(self, source: Path, out: Path, params: Parameters) -> ImportResult:
        """Copies image/mask pairs found in `source`; see `importing.find` for the layouts.

        What the source lacks of the three parts is set aside by the hash of the cases' names: `val_share` and
        `test_share` (defaults of `registry.cases.splits.Shares`). Images without a mask go to `unlabelled/`.

        Raises:
            DataError: nothing to import, a mask without its image, or a file that cannot be read; names them all.
        """
        found = importing.find(source)
        problems = [problem for pair in found.pairs for problem in _unusable(pair, source)]
        if problems:
            raise DataError(
                f"{len(problems)} of the files in {source} cannot be used:\n  " + "\n  ".join(problems[:20]),
                expected="2-D or 3-D scalar NIfTI files, each mask on its image's grid",
                fix="fix or remove these files and import again; nothing was imported",
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
            ndim = nifti.read(image, MAX_CASE_VOXELS).ndim
            rows.append(_row(pair.id, split, "imported", ndim, together.get(pair.id, "")))
            counts[split] += 1
        _write_table(out, rows)
        return ImportResult(**counts, unlabelled=loose, notes=(*found.notes, *grouped, *set_aside))

    def cases(self, root: Path) -> list[Case]:
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

    def inspect(self, root: Path) -> pd.DataFrame:
        """As `DataPart.inspect`."""
        return inspection.inspect(root, _read_table(root))

    def add(self, root: Path, items: Sequence[LabelledInput], origin: str, shares: Shares) -> AddResult:
        """As `DataPart.add`; a case's split follows from the hash of its id. An image that is there already, under
        whatever name, is not added again: it could end up on both sides of the split."""
        rows = _read_table(root)
        known = {row["case"] for row in rows}
        fresh = {slug(item.id): item for item in reversed(items) if slug(item.id) not in known}
        if not fresh:
            return AddResult(0)
        images = (inspection.try_read(case.input)[0] for case in self.cases(root))
        contents = {inspection.content_of(image) for image in images if image is not None}
        new, refused = [], []
        for case, item in sorted(fresh.items()):
            try:
                body, truth = item.body, item.truth if isinstance(item.truth, bytes) else Path(item.truth).read_bytes()
                volume = nifti.read(body, MAX_CASE_VOXELS)
                SCORE.check(truth, body)  # else it would stop every later training at the data check
            except BadInput as error:
                refused.append(f"{item.id}: {error.found}")
                continue
            except OSError:
                continue  # its retention time is over
            if (content := inspection.content_of(volume)) in contents:
                continue
            contents.add(content)
            split = shares.split(case)
            _write_case(root / split / case, body, truth)
            new.append(_row(case, split, origin, volume.ndim))
        if new:
            _write_table(root, [*rows, *new])
        return AddResult(len(new), tuple(refused))

    def move(self, root: Path, cases: Collection[str], split: str) -> None:
        """As `DataPart.move`."""
        rows = []
        for row in _read_table(root):
            if row["case"] in cases and row["split"] != split:
                (root / split).mkdir(exist_ok=True)
                (root / row["split"] / row["case"]).rename(root / split / row["case"])
                row = {**row, "split": split}
            rows.append(row)
        _write_table(root, rows)

    def checks(self) -> Sequence[Check]:
        """What must hold of `inspect`'s table."""
        return inspection.checks()
