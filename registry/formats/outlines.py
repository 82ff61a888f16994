"""Boxes around outlines and masks, for annotations that have nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_RUNS = 1_000_000
Box = tuple[float, float, float, float]


def numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, also as text; None for anything else."""
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if all(map(math.isfinite, found)) else None


def positive_pair(width: Any, height: Any) -> tuple[float, float] | None:
    """A size; None if it is not two positive numbers."""
    found = numbers((width, height), 2)
    return (found[0], found[1]) if found and min(found) > 0 else None


def around(points: Sequence[float]) -> Box | None:
    """x, y, x, y, ... -> x1, y1, x2, y2; None for fewer than two points."""
    xs, ys = points[::2], points[1::2]
    return (min(xs), min(ys), max(xs), max(ys)) if len(xs) == len(ys) and len(xs) > 1 else None


def of_segmentation(segmentation: Any) -> Box | None:
    """The box in pixels around COCO's `segmentation`: polygons, or a mask in run lengths. None for anything else."""
    if isinstance(segmentation, Mapping):
        return _of_mask(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    points: list[float] = []
    for part in segmentation if isinstance(segmentation[0], list) else [segmentation]:
        if isinstance(part, list) and part and isinstance(part[0], list):  # [[x, y], [x, y], ...]
            part = [value for pair in part for value in pair] if all(isinstance(pair, list) for pair in part) else []
        read = numbers(part, len(part)) if isinstance(part, list) else None
        if read is None or len(read) % 2:
            return None
        points += read
    return around(points)


def _of_mask(mask: Mapping[str, Any]) -> Box | None:
    """Runs of background and foreground in turn, column by column (pycocotools' `rleToBbox`)."""
    size, counts = numbers(mask.get("size"), 2), mask.get("counts") or []
    if size is None or size[0] < 1 or not isinstance(counts, str | list):
        return None
    runs = _decode_runs(counts) if isinstance(counts, str) else numbers(counts, len(counts))
    if runs is None or len(runs) > MAX_RUNS:
        return None
    height, at = int(size[0]), 0
    x1 = y1 = x2 = y2 = -1
    for n, run in enumerate(map(int, runs)):
        if n % 2 and run > 0:
            first, last = divmod(at, height), divmod(at + run - 1, height)
            top, bottom = (first[1], last[1]) if first[0] == last[0] else (0, height - 1)
            x1, y1 = (first[0], top) if x1 < 0 else (x1, min(y1, top))
            x2, y2 = max(x2, last[0]), max(y2, bottom)
        at += max(run, 0)
    return (float(x1), float(y1), float(x2 + 1), float(y2 + 1)) if x1 >= 0 else None


def _decode_runs(text: str) -> list[int] | None:
    """COCO's compressed run lengths (pycocotools' `rleFrString`): 5 bits a character, lowest first; from the third run
    on, the difference to the last but one."""
    found: list[int] = []
    value = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    return found if not shift else None
