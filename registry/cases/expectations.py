"""The data checks of data sets of pictures, over the table that `registry.cases.inspection` makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.cases import yolo_labels
from registry.cases.records import Check
from registry.cases.splits import SPLITS
from registry.cases.table import TABLE
from registry.vision import look_alikes

SMALLEST_SIDE = 16
"""Pixels. A service takes smaller pictures, but training learns nothing from them."""

FLATTEST = 1.0
"""Least standard deviation of the grey values (0..255); below it a picture shows nothing. JPEG's noise is less."""

MOST_OF_ONE_CLASS = 0.95
"""Largest share of the training pictures in one class. Above it, a model that always answers that class looks good."""

PARTS = {
    "train": ("there is nothing to train on: no case is in train", "{again}, or add cases"),
    "val": ("there is nothing to choose the epoch by: no case is in val", "{again}, which sets aside what it lacks"),
    "test": (
        "there is no test part: no case is held out (test)",
        "`visionloop data hold-out {model}` moves a share of val there; or {again}",
    ),
}


def between(column: str, says: str, fix: str, *, warning: bool = False, **limits: Any) -> Check:
    """Each value lies between `min_value` and `max_value`; `strict_min` and `strict_max` exclude the limits."""
    return Check("expect_column_values_to_be_between", {"column": column, **limits}, says, fix, warning)


def empty(column: str, says: str, fix: str) -> Check:
    return Check("expect_column_values_to_be_null", {"column": column}, says, fix)


def unique(column: str, says: str, fix: str) -> Check:
    return Check("expect_column_values_to_be_unique", {"column": column}, says, fix)


def within(split: str) -> dict[str, str]:
    """Arguments that restrict a check to one split."""
    return {"row_condition": f'split=="{split}"', "condition_parser": "pandas"}


def for_parts(model: str) -> list[Check]:
    """Checks for every kind of data set: no empty split, no group in two splits, unique names, a row for each case."""
    again = f"import your data again with `visionloop data import {model} PATH`"
    contain = "expect_column_distinct_values_to_contain_set"
    return [
        *(
            Check(contain, {"column": "split", "value_set": [split]}, says, fix.format(again=again, model=model))
            for split, (says, fix) in PARTS.items()
        ),
        between("group_parts", "{rows}: their group (patient, camera, sequence) is in two parts (leakage)",
                f"move all cases of a group to one part of the source, and {again}", min_value=1, max_value=1),
        unique("case", "{rows}: the name is used twice", "rename the cases"),
        Check("expect_column_values_to_not_be_null", {"column": "row"}, f"{{rows}}: these are not in {TABLE}",
              f"remove them, or {again}"),
        Check("expect_column_pair_values_to_be_equal",
              {"column_A": "split", "column_B": "folder", "ignore_row_if": "neither"},
              f"{{rows}}: {TABLE} names another part than the folder they are in", f"correct {TABLE}"),
        unique("content", "{rows}: the same is there more than once (in two parts it is leakage)", "keep one of each"),
    ]  # fmt: skip


def for_pictures(model: str) -> list[Check]:
    small = f"{{rows}}: less than {SMALLEST_SIDE} pixels"
    fix = "replace the thumbnails by the pictures themselves, or remove them"
    return [
        *for_parts(model),
        empty("decoding_error", "{rows}: the file is missing, truncated or not a picture",
              "export these pictures again, or remove the cases; the data docs page says what is wrong with each"),
        between("width", f"{small} wide", fix, min_value=SMALLEST_SIDE),
        between("height", f"{small} high", fix, min_value=SMALLEST_SIDE),
        Check("expect_column_values_to_be_in_set", {"column": "channels", "value_set": [1, 3]},
              "{rows}: transparent pictures or pictures for print (CMYK); transparency is dropped",
              "nothing, if that is right; else export them again with a background, in RGB", warning=True),
        between("contrast", "{rows}: the picture is all of one value",
                "export these pictures again, or remove the cases", min_value=FLATTEST),
        between("likeness", "{rows}: nearly the same picture is in two parts (leakage)",
                "remove one of each pair, or move both to one part",
                max_value=look_alikes.MIN_CORRELATION, strict_max=True),
    ]  # fmt: skip


def for_classes(model: str, classes: Sequence[str] | None) -> tuple[Check, ...]:
    """Checks of `class_table`. `classes`: the model's; None if the data defines them."""
    folder, fix = "{rows}: the folder is not one of the classes", "correct the folder's name, or remove these pictures"
    known = (
        Check("expect_column_values_to_be_in_set", {"column": "class", "value_set": list(classes)}, folder, fix)
        if classes
        else Check("expect_column_values_to_not_be_null", {"column": "class_number"}, folder, fix)
    )
    return (
        *for_pictures(model),
        known,
        between("training_of_class", "{rows}: no training picture is of their class",
                "add training pictures of that class, or leave it out", min_value=1),
        Check("expect_column_unique_value_count_to_be_between",
              {"column": "class", "min_value": 2, **within("train")},
              "the training pictures are all of one class", "add pictures of other classes"),
        Check("expect_column_max_to_be_between", {"column": "class_share", "max_value": MOST_OF_ONE_CLASS},
              f"more than {MOST_OF_ONE_CLASS:.0%} of the training pictures are of one class",
              "add pictures of the other classes, or leave some of this one out"),
    )  # fmt: skip


def for_boxes(model: str, classes: Sequence[str]) -> tuple[Check, ...]:
    """Checks of `box_table`."""
    return (
        *for_pictures(model),
        empty("label_error", "{rows}: the label file is missing or has lines that are not `class cx cy w h`",
              "export these labels again; for a picture with nothing in it, an empty file"),
        between("highest_class", "{rows}: boxes of a class number that data.yaml does not have",
                "correct these labels, or import the data again", min_value=0, max_value=len(classes) - 1),
        between("smallest_side", "{rows}: boxes without width or height", "draw these boxes again, or remove them",
                min_value=0, strict_min=True),
        between("furthest_outside", "{rows}: boxes reach over the picture's edge",
                "are they in pixels, or of the picture before it was turned? Draw or convert them again",
                max_value=yolo_labels.TOLERANCE),
        *_taught("box", "boxes"),
    )  # fmt: skip


def for_masks(model: str) -> tuple[Check, ...]:
    """Checks of `mask_table`."""
    sizes = "{rows}: the mask is not of its picture's size"
    return (
        *for_pictures(model),
        empty("mask_error", "{rows}: the mask is missing, or is not one of the model's classes",
              "export these masks again; for a picture with nothing in it, one that is all 0"),
        *(
            Check("expect_column_pair_values_to_be_equal",
                  {"column_A": side, "column_B": f"mask_{side}", "ignore_row_if": "either_value_is_missing"},
                  sizes, "draw these masks on the pictures that they belong to")
            for side in ("width", "height")
        ),
        *_taught("mask", "classes_shown"),
    )  # fmt: skip


def _taught(label: str, count: str) -> list[Check]:
    """Every class that occurs is in the training part, and each part shows something. `count`: a row's number of it."""
    parts = {"train": "training", "val": "validation", "test": "test"}
    return [
        between("training_of_rarest", f"{{rows}}: no training {label} is of one of their classes",
                "add training pictures of that class, or leave it out", min_value=1),
        *(
            Check("expect_column_max_to_be_between", {"column": count, "min_value": 1, **within(split)},
                  f"no {parts[split]} picture has a {label}", f"label some of the pictures in {split}")
            for split in SPLITS
        ),
    ]  # fmt: skip
