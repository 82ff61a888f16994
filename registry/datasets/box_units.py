"""Converts labelled boxes to pixels of the upright picture: units, EXIF orientation, order of corners, edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.cases import yolo_labels
from registry.cases.picture_facts import PictureFacts
from registry.cases.yolo_labels import LabelBox
from registry.core.errors import BadInput
from registry.formats.sources import ReadResult, SourceCase
from registry.vision import headers

MAX_OUTSIDE = 0.1
"""A box may reach this fraction of the picture's side over its edge, and is cut off there. More is an error."""

MIN_SIDE = 0.5  # pixels
DUPLICATE_DISTANCE = 0.1  # pixels between the corners of duplicates
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class StoredSize:
    """A picture's size in pixels before its EXIF orientation (1 to 8) is applied."""

    width: int
    height: int
    orientation: int


def stored_size(path: Path) -> StoredSize | None:
    """Reads it from the header; None if that cannot be read."""
    try:
        header = headers.read(path.read_bytes())
    except (OSError, BadInput):
        return None
    return StoredSize(header.width, header.height, header.orientation)


def to_upright_pixels(
    result: ReadResult,
    facts: Sequence[PictureFacts],
    sizes: Sequence[StoredSize | None],
    relative: Callable[[Path], str],
) -> list[SourceCase]:
    """The cases of `result`, with boxes in pixels of the upright pictures. Faulty boxes become problems of `result`.

    Args:
        facts, sizes: of the cases' pictures, in order. A picture that cannot be read is passed over.
        relative: a picture's name for messages.
    """
    normalized = _are_normalized(result, facts)
    frame = _frame_of_labels(result, sizes)
    found = []
    for case, fact, stored in zip(result.cases, facts, sizes, strict=True):
        if isinstance(case.label, tuple) and not fact.problem and stored is not None:
            try:
                boxes = _to_pixels(case, fact, stored, normalized, frame, result.counts)
                case = replace(case, label=_clean(boxes, fact, result.counts))
            except ValueError as error:
                result.problems.append(f"{relative(case.path)}: {error}")
        found.append(case)
    return found


def _are_normalized(result: ReadResult, facts: Sequence[PictureFacts]) -> bool:
    """Whether all boxes that should be in pixels lie between 0 and 1."""
    labels = [case.label for case in result.cases if isinstance(case.label, tuple) and case.size != (1, 1)]
    numbers = [value for boxes in labels for box in boxes for value in box.box]
    if not numbers or max(numbers) > 1 + MAX_OUTSIDE or min(numbers) < -MAX_OUTSIDE:
        return False
    result.notes.append("all boxes lie between 0 and 1: read as fractions of the pictures' width and height")
    return True


def _frame_of_labels(result: ReadResult, sizes: Sequence[StoredSize | None]) -> str:
    """`stored` or `upright`, if the sizes in the labels prove how the labelling program showed pictures that lie on
    their side; "" without proof, or with both."""
    seen = set()
    for case, stored in zip(result.cases, sizes, strict=True):
        if stored is not None and case.label and stored.orientation >= 5 and stored.width != stored.height:
            size = (float(stored.width), float(stored.height))
            seen |= {"stored"} if case.size == size else {"upright"} if case.size == size[::-1] else set()
    return seen.pop() if len(seen) == 1 else ""


def _to_pixels(
    case: SourceCase, fact: PictureFacts, stored: StoredSize, normalized: bool, frame: str, counts: Counter[str]
) -> Sequence[LabelBox]:
    """The boxes in pixels of the upright picture. Raises ValueError if the label is for another size."""
    boxes = list(case.label) if isinstance(case.label, tuple) else []
    upright_size, file_size = (float(fact.width), float(fact.height)), (float(stored.width), float(stored.height))
    size = case.size
    if normalized or size == (1, 1):
        scale = size if normalized and size in (upright_size, file_size) else upright_size
        boxes = [LabelBox(box.name, _scale(box.box, scale or upright_size)) for box in boxes]
        size = None if size == (1, 1) else size
    else:
        _refuse_normalized(boxes)
    if size is not None and size not in (upright_size, file_size):
        width, height = upright_size
        raise ValueError(f"its label is for {size[0]:g} x {size[1]:g} pixels, it has {width:g} x {height:g}")
    if stored.orientation == 1 or not boxes:
        return boxes
    on_its_side = size == file_size != upright_size  # EXIF 5 to 8
    if on_its_side or (size == file_size and frame == "stored"):
        return [LabelBox(box.name, _turn(box.box, file_size, stored.orientation)) for box in boxes]
    if size != upright_size or (upright_size == file_size and frame != "upright"):
        counts[
            "pictures are turned or mirrored by their EXIF orientation, and nothing says whether their boxes are: "
            "read as drawn on the upright picture"
        ] += 1
    return boxes


def _refuse_normalized(boxes: Sequence[LabelBox]) -> None:
    for one in boxes:
        sides = (abs(one.box[2] - one.box[0]), abs(one.box[3] - one.box[1]))
        if min(sides) > 0 and max(map(abs, one.box)) <= 1 and max(sides) < 1:
            raise ValueError(f"a box {one.box} looks normalized, and other boxes are in pixels")


def _scale(box: Box, by: tuple[float, float]) -> Box:
    return box[0] * by[0], box[1] * by[1], box[2] * by[0], box[3] * by[1]


def _turn(box: Box, size: tuple[float, float], orientation: int) -> Box:
    """A box of the stored picture, which has this size, in the upright one."""
    (x1, y1, x2, y2), (width, height) = box, size
    if orientation in (3, 4, 6, 7):  # the stored bottom is the upright top, or left
        y1, y2 = height - y2, height - y1
    if orientation in (2, 3, 7, 8):  # the stored right is the upright left, or top
        x1, x2 = width - x2, width - x1
    return (y1, x1, y2, x2) if orientation >= 5 else (x1, y1, x2, y2)


def _clean(boxes: Sequence[LabelBox], fact: PictureFacts, counts: Counter[str]) -> tuple[LabelBox, ...]:
    """Sorts corners, cuts boxes off at the edges, and drops duplicates and boxes without a size. Raises ValueError for
    a box far outside."""
    kept: list[LabelBox] = []
    w, h = fact.width, fact.height
    for one in boxes:
        x1, x2 = sorted((one.box[0], one.box[2]))
        y1, y2 = sorted((one.box[1], one.box[3]))
        if max(-x1 / w, -y1 / h, x2 / w - 1, y2 / h - 1) > MAX_OUTSIDE:
            raise ValueError(f"a box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) is outside of its {w} x {h} pixels")
        cut = (min(max(x1, 0.0), w), min(max(y1, 0.0), h), min(max(x2, 0.0), w), min(max(y2, 0.0), h))
        if min(cut[2] - cut[0], cut[3] - cut[1]) < MIN_SIDE:
            counts["boxes without width or height left out"] += 1
            continue
        counts["boxes were drawn from another corner than the upper left: corners sorted"] += (x1, y1) != one.box[:2]
        over = max(abs(a - b) for a, b in zip((x1, y1, x2, y2), cut, strict=True))
        counts["boxes cut off at the picture's edge"] += over > yolo_labels.TOLERANCE * max(w, h)
        if any(box.name == one.name and _distance(box.box, cut) <= DUPLICATE_DISTANCE for box in kept):
            counts["duplicate boxes left out"] += 1
            continue
        kept.append(LabelBox(one.name, cut))
    return tuple(kept)


def same_boxes(left: Sequence[LabelBox], right: Sequence[LabelBox]) -> bool:
    """Whether two labels of one picture are the same boxes, to a pixel."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        twin = next((box for box in rest if box.name == one.name and _distance(box.box, one.box) <= 1), None)
        if twin is None:
            return False
        rest.remove(twin)
    return True


def _distance(left: Box, right: Box) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))
