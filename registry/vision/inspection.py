"""The table that Great Expectations checks for a data set of pictures, and the checks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import groups
from registry.parts import Check
from registry.splits import SPLITS
from registry.vision import duplicates, yolo_labels
from registry.vision.looks import Look, Looks
from registry.vision.table import TABLE, Row

if TYPE_CHECKING:
    import pandas as pd

THREADS = min(8, os.cpu_count() or 1)
SMALLEST_SIDE = 16
"""Pixels. A service takes smaller ones; nothing is learnt from them."""

FLATTEST = 1.0
"""Standard deviation of the grey values, of 255, below which a picture shows nothing; JPEG's noise is less."""

MOST_OF_ONE_CLASS = 0.95
"""Share of the training pictures that one class may have: above it, always saying that class looks like success."""


KEPT = "look-alikes-kept.txt"
"""Stands in a data set whose owner wants nearly equal pictures on both sides of the split."""

KEPT_TEXT = "Imported with --look-alikes keep: two splits hold nearly the same pictures, and the metric flatters.\n"


def label_path(root: Path, file: str) -> Path:
    """`images/train/x.jpg` -> `root/labels/train/x.txt`."""
    return root.joinpath("labels", *Path(file).parts[1:]).with_suffix(".txt")


def class_table(root: Path, rows: Sequence[Row], classes: Sequence[str]) -> pd.DataFrame:
    """A row per case, and per picture in the class folders that `cases.csv` does not know."""
    found = [path for split in SPLITS for path in sorted((root / split).glob("*/*")) if path.is_file()]
    table = _common(root, rows, _strays(root, rows, found))
    table["class"] = [Path(file).parts[-2] for file in table["file"]]
    table["class_known"] = table["class"].isin(classes)
    table["split_agrees"] = [
        Path(file).parts[0] == split for file, split in zip(table["file"], table["split"], strict=True)
    ]
    trained = Counter(table.loc[table["split"] == "train", "class"])
    # What follows from another breach is left out (NaN is not checked): one message for one cause.
    table["class_trained"] = table["class"].isin(trained) | (not trained)
    table["training_classes"] = float(len(trained) or "nan")
    table["largest_class"] = max(trained.values()) / trained.total() if len(trained) > 1 else float("nan")
    return table.drop(columns="file")


def box_table(root: Path, rows: Sequence[Row], classes: Sequence[str]) -> pd.DataFrame:
    """A row per case, and per picture or label file that `cases.csv` does not know."""
    found = [p for kind in ("images", "labels") for s in SPLITS for p in sorted((root / kind / s).glob("*"))]
    labels = {label_path(root, row.file) for row in rows}
    table = _common(root, rows, _strays(root, rows, [path for path in found if path not in labels]))
    table["split_agrees"] = [
        Path(file).parts[1] == split for file, split in zip(table["file"], table["split"], strict=True)
    ]
    read = [_labels(root, file, len(classes)) for file in table["file"]]
    table["label_problem"] = [said for said, _, _ in read]
    table["boxes"] = [len(lines) for _, lines, _ in read]
    for name in ("unknown_class", "empty_boxes", "boxes_outside"):
        table[name] = [counts[name] for _, _, counts in read]
    named = [sorted({classes[one.number] for one in lines if one.number < len(classes)}) for _, lines, _ in read]
    table["classes"] = [", ".join(names) for names in named]
    trained = {name for names, split in zip(named, table["split"], strict=True) if split == "train" for name in names}
    table["class_trained"] = [set(names) <= trained or not trained for names in named]
    for split, name in zip(SPLITS, ("training_boxes", "validation_boxes", "test_boxes"), strict=True):
        mine = table.loc[table["split"] == split, "boxes"]
        table[name] = float(mine.sum()) if len(mine) else float("nan")  # no case at all is another check's message
    return table.drop(columns="file")


def _labels(root: Path, file: str, classes: int) -> tuple[str, list[yolo_labels.Line], dict[str, int]]:
    path = root / file if _is_label(file) else label_path(root, file)
    try:
        lines, problems = yolo_labels.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        lines, problems = [], [f"{path.name} is missing or no text"]
    counts = {
        "unknown_class": sum(one.number >= classes for one in lines),
        "empty_boxes": sum(one.empty for one in lines),
        "boxes_outside": sum(one.outside > yolo_labels.TOLERANCE for one in lines),
    }
    return "; ".join(problems[:3]), lines, counts


def _strays(root: Path, rows: Sequence[Row], found: Sequence[Path]) -> list[str]:
    listed = {row.file for row in rows}
    files = [path.relative_to(root).as_posix() for path in found if not path.name.startswith(".")]
    return [file for file in files if file not in listed]


def _common(root: Path, rows: Sequence[Row], strays: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    every = [*rows, *(Row(file, _split_of(file), "", file) for file in strays)]
    with Looks() as at, ThreadPoolExecutor(THREADS) as pool:
        # A label without its picture is a stray file, and no more than that.
        looks = list(pool.map(lambda row: Look("") if _is_label(row.file) else at.at_file(root / row.file), every))
    splits = [row.split for row in every]
    body: dict[str, Any] = {
        "case": [row.case for row in every],
        "group": [row.group for row in every],
        "group_parts": groups.parts_of(splits, [row.group for row in every]),
        "split": [row.split for row in every],
        "origin": [row.origin for row in every],
        "listed": [n < len(rows) for n in range(len(every))],
        "file": [row.file for row in every],
        "problem": [one.problem for one in looks],
        "shorter_side": [float(min(one.width, one.height)) if one.width else float("nan") for one in looks],
        "contrast": [one.contrast for one in looks],
    }
    table = pd.DataFrame(body)
    content = pd.Series([one.content or None for one in looks], dtype=object)
    table["copies"] = content.groupby(content).transform("size").fillna(1).astype(int)
    table["leaks"] = table["split"].groupby(content).transform("nunique").fillna(1) > 1
    twins = {} if (root / KEPT).is_file() else _twins(every, looks)
    table["same_as"] = [twins.get(n, "") for n in range(len(every))]
    for split, name in zip(SPLITS, ("training_cases", "validation_cases", "test_cases"), strict=True):
        table[name] = int((table["split"] == split).sum())
    return table


def _is_label(file: str) -> bool:
    return file.startswith("labels/") and file.endswith(".txt")


def _split_of(file: str) -> str:
    return next((part for part in Path(file).parts if part in SPLITS), "")


def _twins(rows: Sequence[Row], looks: Sequence[Look]) -> dict[int, str]:
    """Row number -> a case of another split that shows the same picture in other bytes."""
    sides = [[n for n, row in enumerate(rows) if row.split == split and looks[n].mark is not None] for split in SPLITS]
    found: dict[int, str] = {}
    for ours, theirs in combinations(sides, 2):
        marks = [[mark for n in side if (mark := looks[n].mark) is not None] for side in (ours, theirs)]
        for left, right in duplicates.alike(*marks):
            a, b = ours[left], theirs[right]
            if looks[a].content != looks[b].content:
                found.setdefault(a, rows[b].case)
                found.setdefault(b, rows[a].case)
    return found


IN_SET, BETWEEN = "expect_column_values_to_be_in_set", "expect_column_values_to_be_between"


def _is(column: str, value: Any, says: str, mend: str) -> Check:
    return Check(IN_SET, {"column": column, "value_set": [value]}, says, mend)


def _least(column: str, least: float, says: str, mend: str, **more: Any) -> Check:
    return Check(BETWEEN, {"column": column, "min_value": least, **more}, says, mend)


def _common_checks(model: str) -> tuple[Check, ...]:
    again = f"import your data again with `visionloop data import {model} PATH`"
    return (
        _least("training_cases", 1, "there is nothing to train on: no case is in train", f"{again}, or add pictures"),
        _least("validation_cases", 1, "there is nothing to choose the epoch by: no case is in val",
               f"{again}: what the source lacks is set aside"),
        _least("test_cases", 1, "there is no test part: no case is held out (test)",
               f"`visionloop data hold-out {model}` moves a share of val there; or {again}"),
        Check(BETWEEN, {"column": "group_parts", "min_value": 1, "max_value": 1},
              "{rows}: their group (patient, camera, sequence) is in two parts (leakage)",
              f"move all cases of a group to one part of the source, and {again}"),
        Check("expect_column_values_to_be_unique", {"column": "case"}, "{rows}: the name is used twice",
              "rename the cases"),
        _is("listed", True, f"{{rows}}: these files are not in {TABLE}", f"remove them, or {again}"),
        _is("split_agrees", True, f"{{rows}}: {TABLE} names another split than the folder they are in",
            f"correct {TABLE}"),
        _is("problem", "", "{rows}: the picture is missing, truncated or none",
            "export these pictures again, or remove the cases; the data docs page says what is wrong with each"),
        _least("shorter_side", SMALLEST_SIDE, f"{{rows}}: less than {SMALLEST_SIDE} pixels high or wide",
               "replace the thumbnails by the pictures themselves, or remove them"),
        _least("contrast", FLATTEST, "{rows}: the picture is all of one value",
               "export these pictures again, or remove the cases"),
        _is("copies", 1, "{rows}: the same picture is there more than once", "keep one of each"),
        _is("leaks", False, "{rows}: the same picture is in two splits (leakage)", "remove it from one of them"),
        _is("same_as", "", "{rows}: nearly the same picture is in two splits (leakage)",
            "remove one of each pair, or move both to one side; the data docs page names the pairs"),
    )  # fmt: skip


def class_checks(model: str) -> tuple[Check, ...]:
    """What must hold of `class_table`."""
    return (
        *_common_checks(model),
        _is("class_known", True, "{rows}: the folder is none of the model's classes",
            "correct the folder's name, or remove these pictures"),
        _is("class_trained", True, "{rows}: held out, but no training picture is of their class",
            "add training pictures of that class, or leave it out"),
        _least("training_classes", 2, "the training pictures are all of one class", "add pictures of other classes"),
        _least("largest_class", 0.0, f"more than {MOST_OF_ONE_CLASS:.0%} of the training pictures are of one class",
               "add pictures of the other classes, or leave some of this one out", max_value=MOST_OF_ONE_CLASS),
    )  # fmt: skip


def box_checks(model: str) -> tuple[Check, ...]:
    """What must hold of `box_table`."""
    return (
        *_common_checks(model),
        _is("label_problem", "", "{rows}: the label file is missing or has lines that are not `class cx cy w h`",
            "export these labels again; for a picture with nothing in it, an empty file"),
        _is("unknown_class", 0, "{rows}: boxes of a class number that data.yaml does not have",
            "correct these labels, or import the data again"),
        _is("empty_boxes", 0, "{rows}: boxes without width or height", "draw these boxes again, or remove them"),
        _is("boxes_outside", 0, "{rows}: boxes reach over the picture's edge",
            "are they in pixels, or of the picture before it was turned? Draw or convert them again"),
        _is("class_trained", True, "{rows}: held out, but no training box is of one of their classes",
            "add training pictures of that class, or leave it out"),
        _least("training_boxes", 1, "no training picture has a box", "label some of the training pictures"),
        _least("validation_boxes", 1, "no validation picture has a box", "label some of the pictures in val"),
        _least("test_boxes", 1, "no test picture has a box", "label some of the pictures in test"),
    )  # fmt: skip
