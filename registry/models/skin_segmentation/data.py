"""The data set: `{train,val,test}/<case>/{image,mask}.nii.gz` and `cases.csv`, without the column `file`."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from registry.cases import groups, table
from registry.cases.records import STREAM_SEED, AddResult, Check, ImportResult, LabelledInput
from registry.cases.splits import SPLITS, Shares, complete
from registry.cases.table import Row, slug
from registry.contract.parts import DataPart
from registry.core.errors import BadInput, DataError
from registry.core.files import write_file
from registry.core.media import MAX_CASE_VOXELS, Case, Parameters
from registry.formats import masks
from registry.models.skin_segmentation import SPEC, inspection, nifti, phantom
from registry.models.skin_segmentation.inspection import IMAGE, MASK
from registry.models.skin_segmentation.score import SkinScore

SCORE = SkinScore(SPEC)
ENDINGS = (".nii.gz", ".nii")
IN_3D = 8  # every eighth case is a volume


def _made(rng: np.random.Generator, n: int) -> phantom.Phantom:
    return phantom.make(rng, 3 if n % IN_3D == IN_3D - 1 else 2)


def files_of(one: phantom.Phantom) -> tuple[bytes, bytes]:
    """Image and mask, as NIfTI files."""
    return nifti.write_new(one.voxels, one.affine, one.ndim), nifti.write_new(one.mask, one.affine, one.ndim)


def _unusable(pair: masks.Pair, source: Path) -> list[str]:
    """What is wrong with a pair's files; mask values and the like are for `checks`."""
    problems, shapes = [], set()
    for path in filter(None, (pair.image, pair.mask)):
        try:
            shapes.add(nifti.read(path.read_bytes(), MAX_CASE_VOXELS).voxels.shape)
        except BadInput as error:
            problems.append(f"{path.relative_to(source)}: {error.found}")
    if len(shapes) > 1 and pair.mask is not None:
        problems.append(f"{pair.mask.relative_to(source)}: not of the shape of {pair.image.relative_to(source)}")
    return problems


def _grouped(pairs: Sequence[masks.Pair], source: Path, pattern: str) -> tuple[dict[str, str], list[str]]:
    """A pair's id -> group, by `pattern` (see `groups.named`) in the image's file name, or in the case's name where all
    files are called alike; else as a `cases.csv` of ours says. And notes."""
    if pattern:
        alike = len({pair.image.name for pair in pairs}) == 1
        paths = {pair.id: pair.image.relative_to(source).as_posix() for pair in pairs}
        return groups.named({pair.id: pair.id for pair in pairs} if alike and "/" not in pattern else paths, pattern)
    try:
        said = {row.case: row.group for row in _read_table(source)}
    except DataError:
        return {}, []
    return {pair.id: said[pair.id] for pair in pairs if said.get(pair.id)}, []


def _packed(body: bytes) -> bytes:
    return body if body[:2] == nifti.GZIP else gzip.compress(body, compresslevel=4, mtime=0)


def _write_case(folder: Path, image: bytes, mask: bytes) -> None:
    write_file(folder / IMAGE, _packed(image))
    write_file(folder / MASK, _packed(mask))


def _row(case: str, split: str, origin: str, ndim: int, group: str = "") -> Row:
    return Row(case, split, origin, attributes={"dimensions": f"{ndim}-D"}, group=group)


def _read_table(root: Path) -> list[Row]:
    return table.read(root, SPEC.name, files=False)


class SkinData(DataPart):
    """Scans with masks."""

    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes phantoms: `train`, `val` and `test` cases (96, 24 and 40), every eighth one 3-D. Seeded by `seed`."""
        rows = []
        for number, split in enumerate(SPLITS):
            for n in range(int(params.get(split, (96, 24, 40)[number]))):
                one = _made(np.random.default_rng([int(params["seed"]), number, n]), n)
                case = f"{split}-{n:03d}"
                _write_case(out / split / case, *files_of(one))
                rows.append(_row(case, split, "starter", one.ndim))
        table.write(out, rows, files=False)

    def synthesise_stream(self, count: int, seed: int) -> list[LabelledInput]:
        """Phantoms that are in no data set; the same ones for a seed."""
        made = [_made(np.random.default_rng([STREAM_SEED, seed, n]), n) for n in range(count)]
        return [LabelledInput(f"stream-{seed}-{n:04d}", *files_of(one)) for n, one in enumerate(made)]

    def import_from(self, source: Path, out: Path, params: Parameters) -> ImportResult:
        """Copies image/mask pairs found in `source`; see `registry.formats.masks.find`.

        What the source lacks of the three parts is set aside by the hash of the cases' names: `val_share` and
        `test_share` (defaults of `registry.cases.splits.Shares`). Images without a mask go to `unlabelled/`.

        Raises:
            DataError: nothing to import, a mask without its image, or a file that cannot be read; names them all.
        """
        found = masks.find(source, ENDINGS)
        problems = [problem for pair in found.pairs for problem in _unusable(pair, source)]
        if problems:
            raise DataError(
                f"{len(problems)} of the files in {source} cannot be used:\n  " + "\n  ".join(problems[:20]),
                expected="2-D or 3-D scalar NIfTI files, each mask on its image's grid",
                fix="fix or remove these files and import again; nothing was imported",
            )
        labelled = [pair for pair in found.pairs if pair.mask is not None]
        together, grouped = _grouped(labelled, source, params.get("group_pattern") or "")
        said = {pair.id: pair.split for pair in labelled}
        parts, set_aside = complete(
            said, Shares.of(params), dict.fromkeys(said, ""), lambda cases: groups.units(cases, together, {})
        )
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
        table.write(out, rows, files=False)
        return ImportResult(**counts, unlabelled=loose, notes=(*found.notes, *grouped, *set_aside))

    def cases(self, root: Path) -> list[Case]:
        """As `DataPart.cases`."""
        return [
            Case(
                row.case,
                row.split,
                row.origin,
                input=root / row.split / row.case / IMAGE,
                truth=root / row.split / row.case / MASK,
                attributes=row.attributes,
                group=row.group,
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
        known = {row.case for row in rows}
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
            table.write(root, [*rows, *new], files=False)
        return AddResult(len(new), tuple(refused))

    def move(self, root: Path, cases: Collection[str], split: str) -> None:
        """As `DataPart.move`."""
        rows = []
        for row in _read_table(root):
            if row.case in cases and row.split != split:
                (root / split).mkdir(exist_ok=True)
                (root / row.split / row.case).rename(root / split / row.case)
                row = replace(row, split=split)
            rows.append(row)
        table.write(root, rows, files=False)

    def checks(self) -> Sequence[Check]:
        """What must hold of `inspect`'s table."""
        return inspection.checks()
