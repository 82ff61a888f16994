"""Gives a test split to a data set that was made before there was one."""

from __future__ import annotations

import os
import shutil
from collections import Counter

from registry.cases.splits import Shares
from registry.contract import catalog
from registry.core.errors import DataError, Refused
from registry.core.files import new_folder
from registry.core.settings import settings


def hold_out(model: str, share: float) -> int:
    """Moves a share of the validation cases into the test split of a data set that has none. Returns how many.

    Raises:
        Refused: there is a test split already.
        DataError: there is no data set, or it has too few validation cases.
    """
    part, root = catalog.get(model).data, settings().data / model
    cases = part.cases(root)
    if any(case.split == "test" for case in cases):
        raise Refused(
            f"{root} has a test split already",
            expected="a data set from before there was one",
            fix="nothing needs to be done; `visionloop data status {model}` counts the cases",
        )
    val = [case for case in cases if case.split == "val"]
    origins = {case.group or case.id: case.origin for case in val}
    parts = Shares(0, share).deal(origins, Counter(case.group or case.id for case in val))
    moved = {case.id for case in val if parts[case.group or case.id] == "test"}
    if not moved:
        raise DataError(
            f"{root} has {len(val)} validation cases of {len(parts)} groups",
            expected="two or more, so that one can be held out",
            fix=f"import your data again: `visionloop data import {model} PATH --force`",
        )
    with new_folder(root) as draft:
        shutil.copytree(root, draft, copy_function=_link, dirs_exist_ok=True)
        part.move(draft, moved, "test")
    return len(moved)


def _link(source: str, target: str) -> None:
    """Makes a hard link, or a copy where the disk has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
