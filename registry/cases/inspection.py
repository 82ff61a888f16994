"""Measures a data set of pictures, as the table that Great Expectations checks (`registry.cases.expectations`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.cases import groups, mask_labels, yolo_labels
from registry.cases.mask_labels import mask_path
from registry.cases.picture_facts import PictureFacts, PictureFactsCache
from registry.cases.splits import SPLITS
from registry.cases.table import Row
from registry.core.errors import BadInput
from registry.vision import look_alikes

if TYPE_CHECKING:
    import pandas as pd

THREADS = min(4, os.cpu_count() or 1)
"""Each holds a picture, some 70 MB at 12 megapixels."""
KEPT = "look-alikes-kept.txt"
"""A file in data sets whose owner allows nearly equal pictures in two splits."""

KEPT_TEXT = "Imported with --look-alikes keep: two splits hold nearly the same pictures, and the metric flatters.\n"


def label_path(root: Path, file: str) -> Path:
    """`images/train/x.jpg` -> `root/labels/train/x.txt`."""
    return root.joinpath("labels", *Path(file).parts[1:]).with_suffix(".txt")


def class_table(root: Path, rows: Sequence[Row], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each case, and for each picture in the class folders that is not in `cases.csv`.

    Columns: `class_number`: the network's; `training_of_class`: training pictures of the row's class; `class_share`:
    their share of all training pictures.
    """
    found = [path for split in SPLITS for path in sorted((root / split).glob("*/*")) if path.is_file()]
    table = _common(root, rows, _strays(root, rows, found))
    table["folder"] = [Path(file).parts[0] for file in table["file"]]
    table["class"] = [Path(file).parts[-2] for file in table["file"]]
    numbers = {name: float(number) for number, name in enumerate(classes)}
    table["class_number"] = [numbers.get(name, float("nan")) for name in table["class"]]
    trained = Counter(table.loc[table["split"] == "train", "class"])
    # NaN is not checked: no message for a breach that only follows from another one.
    table["training_of_class"] = [float(trained[name]) if trained else float("nan") for name in table["class"]]
    table["class_share"] = table["training_of_class"] / trained.total() if len(trained) > 1 else float("nan")
    return table


def box_table(root: Path, rows: Sequence[Row], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each case, and for each picture or label file that is not in `cases.csv`.

    Columns about a row's boxes: their number, the highest class number, and, as fractions of the side, the smallest
    width or height and the furthest reach over the edge. `training_of_rarest`: training boxes of its rarest class.
    """
    table = _in_two_folders(root, rows, "labels", label_path)
    read = [_labels(root, file) for file in table["file"]]
    nan = float("nan")
    table["label_error"] = [problem or None for problem, _ in read]
    table["boxes"] = [float(len(lines)) for _, lines in read]
    table["highest_class"] = [max((float(one.number) for one in lines), default=nan) for _, lines in read]
    table["smallest_side"] = [min((one.smallest for one in lines), default=nan) for _, lines in read]
    table["furthest_outside"] = [max((max(one.outside, 0.0) for one in lines), default=nan) for _, lines in read]
    _count_classes(
        table, [sorted({classes[one.number] for one in lines if one.number < len(classes)}) for _, lines in read]
    )
    return table


def mask_table(root: Path, rows: Sequence[Row], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each case, and for each picture or mask that is not in `cases.csv`.

    Columns about a row's mask: what is wrong with it, its size, how many classes it shows, and `training_of_rarest`:
    training masks of its rarest class.
    """
    table = _in_two_folders(root, rows, "masks", mask_path)
    read = [_mask(mask_path(root, file), classes) for file in table["file"]]
    nan = float("nan")
    table["mask_error"] = [one if isinstance(one, str) else None for one in read]
    table["mask_width"] = [nan if isinstance(one, str) else float(one.width) for one in read]
    table["mask_height"] = [nan if isinstance(one, str) else float(one.height) for one in read]
    table["classes_shown"] = [nan if isinstance(one, str) else float(len(one.names)) for one in read]
    _count_classes(table, [[] if isinstance(one, str) else sorted(one.names) for one in read])
    return table


def _mask(path: Path, classes: Sequence[str]) -> mask_labels.MaskLabel | str:
    """The mask, or what is wrong with it."""
    try:
        return mask_labels.label_of(path.read_bytes(), classes)
    except OSError:
        return f"{path.name} is missing or unreadable"
    except BadInput as error:
        return f"{path.name}: {error.found}"


def _in_two_folders(
    root: Path, rows: Sequence[Row], folder: str, label_of: Callable[[Path, str], Path]
) -> pd.DataFrame:
    """The columns of `_common` of a set with `images` and this other folder of labels."""
    found = [p for kind in ("images", folder) for s in SPLITS for p in sorted((root / kind / s).glob("*"))]
    labels = {label_of(root, row.file) for row in rows}
    table = _common(root, rows, _strays(root, rows, [path for path in found if path not in labels]))
    table["folder"] = [Path(file).parts[1] for file in table["file"]]
    return table


def _count_classes(table: pd.DataFrame, named: Sequence[Sequence[str]]) -> None:
    """Adds `classes`, the names that each row's label has, and `training_of_rarest`."""
    table["classes"] = [", ".join(names) for names in named]
    training = (names for names, split in zip(named, table["split"], strict=True) if split == "train")
    trained = Counter(name for names in training for name in names)
    table["training_of_rarest"] = [
        float(min(trained[name] for name in names)) if names and trained else float("nan") for names in named
    ]


def _labels(root: Path, file: str) -> tuple[str, list[yolo_labels.LabelLine]]:
    path = root / file if _is_label(file) else label_path(root, file)
    try:
        lines, problems = yolo_labels.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        lines, problems = [], [f"{path.name} is missing or is not text"]
    return "; ".join(problems[:3]), lines


def _strays(root: Path, rows: Sequence[Row], found: Sequence[Path]) -> list[str]:
    listed = {row.file for row in rows}
    files = [path.relative_to(root).as_posix() for path in found if not path.name.startswith(".")]
    return [file for file in files if file not in listed]


def _common(root: Path, rows: Sequence[Row], strays: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    every = [*rows, *(Row(file, _split_of(file), "", file) for file in strays)]
    with PictureFactsCache() as cache, ThreadPoolExecutor(THREADS) as pool:
        # A label without its picture is a stray file: there is nothing to read.
        facts = list(
            pool.map(lambda row: PictureFacts("") if _is_label(row.file) else cache.at_file(root / row.file), every)
        )
    splits = [row.split for row in every]
    nan = float("nan")
    unknown = ([nan] * len(every), [""] * len(every))
    likeness, resembles = unknown if (root / KEPT).is_file() else _nearest(every, facts)
    body: dict[str, Any] = {
        "case": [row.case for row in every],
        "row": [float(n + 1) if n < len(rows) else nan for n in range(len(every))],
        "split": splits,
        "origin": [row.origin for row in every],
        "file": [row.file for row in every],
        "group": [row.group for row in every],
        "group_parts": groups.parts_of(splits, [row.group for row in every]),
        "decoding_error": [one.problem or None for one in facts],
        "width": [float(one.width) if one.width else nan for one in facts],
        "height": [float(one.height) if one.height else nan for one in facts],
        "channels": [float(one.channels) if one.channels else nan for one in facts],
        "contrast": [one.contrast for one in facts],
        "content": [one.content or None for one in facts],
        "likeness": likeness,
        "resembles": resembles,
    }
    return pd.DataFrame(body)


def _is_label(file: str) -> bool:
    return file.startswith("labels/") and file.endswith(".txt")


def _split_of(file: str) -> str:
    return next((part for part in Path(file).parts if part in SPLITS), "")


def _nearest(rows: Sequence[Row], facts: Sequence[PictureFacts]) -> tuple[list[float], list[str]]:
    """Finds each row's nearest picture of another split (`look_alikes`): the correlation, and the case.

    NaN and "" if no picture is near. Pictures of the same pixels do not count: they are copies.
    """
    best, other = np.full(len(rows), np.nan, np.float32), np.full(len(rows), -1)
    contents = np.array([one.content for one in facts])
    parts = [
        [n for n, row in enumerate(rows) if row.split == split and facts[n].fingerprint is not None] for split in SPLITS
    ]
    for ours, theirs in combinations(parts, 2):
        prints = [[one for n in part if (one := facts[n].fingerprint) is not None] for part in (ours, theirs)]
        for left, right, likeness in look_alikes.candidates(*prints):
            a, b = np.array(ours)[left], np.array(theirs)[right]
            order = np.argsort(likeness)  # of several values for one row, the last and highest one stays
            order = order[contents[a[order]] != contents[b[order]]]
            for mine, its in ((a[order], b[order]), (b[order], a[order])):
                better = ~(likeness[order] <= best[mine])  # NaN is less than anything
                best[mine[better]], other[mine[better]] = likeness[order][better], its[better]
    return np.minimum(best, 1).astype(float).tolist(), [rows[n].case if n >= 0 else "" for n in other]
