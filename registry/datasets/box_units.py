"""Boxes of a label file -> pixels of the picture as a person sees it: units, EXIF orientation, corners, edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.cases import yolo_labels
from registry.cases.picture_facts import PictureFacts
from registry.cases.yolo_labels import LabelBox
from registry.core.errors import BadInput
from registry.formats.sources import FoundCase, Reading
from registry.vision import headers

MOST_OUTSIDE = 0.1
"""A box may reach this share of the picture's side over its edge, and is cut off there; more is a mistake."""

SMALLEST_BOX = 0.5  # pixels
SAME_BOX = 0.1  # pixels between corners of what is one box twice
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Stored:
    """How a picture's file keeps it: its size before the EXIF orientation (1 to 8) is applied."""

    width: int
    height: int
    orientation: int


def stored(path: Path) -> Stored | None:
    """From the header; None if it cannot be read."""
    try:
        header = headers.read(path.read_bytes())
    except (OSError, BadInput):
        return None
    return Stored(header.width, header.height, header.orientation)


def upright(
    reading: Reading, looks: Sequence[PictureFacts], shapes: Sequence[Stored | None], shown: Callable[[Path], str]
) -> list[FoundCase]:
    """What was found, with boxes in pixels of the upright pictures; what is wrong goes into `reading`.

    Args:
        reading: in the labels' own frames of reference.
        looks, shapes: of its pictures, in order; a picture that cannot be read is passed over.
        shown: a picture's name for messages.
    """
    shares = _are_shares(reading, looks)
    habit = _habit(reading, shapes)
    found = []
    for one, look, shape in zip(reading.found, looks, shapes, strict=True):
        if isinstance(one.label, tuple) and not look.problem and shape is not None:
            try:
                boxes = _placed(one, look, shape, shares, habit, reading.counts)
                one = replace(one, label=_tidied(boxes, look, reading.counts))
            except ValueError as error:
                reading.problems.append(f"{shown(one.path)}: {error}")
        found.append(one)
    return found


def _are_shares(reading: Reading, looks: Sequence[PictureFacts]) -> bool:
    """Whether boxes that ought to be in pixels are shares of the sides: every one of them lies between 0 and 1."""
    several = [one.label for one in reading.found if isinstance(one.label, tuple) and one.size != (1, 1)]
    numbers = [value for boxes in several for box in boxes for value in box.box]
    if not numbers or max(numbers) > 1 + MOST_OUTSIDE or min(numbers) < -MOST_OUTSIDE:
        return False
    reading.notes.append("the boxes are between 0 and 1, and are taken as shares of the pictures' sides")
    return True


def _habit(reading: Reading, shapes: Sequence[Stored | None]) -> str:
    """`stored` or `upright` if the sizes that labels state prove how the labelling program showed pictures that lie on
    their side; "" if there are none, or both."""
    seen = set()
    for one, shape in zip(reading.found, shapes, strict=True):
        if shape is not None and one.label and shape.orientation >= 5 and shape.width != shape.height:
            here = (float(shape.width), float(shape.height))
            seen |= {"stored"} if one.size == here else {"upright"} if one.size == here[::-1] else set()
    return seen.pop() if len(seen) == 1 else ""


def _placed(
    one: FoundCase, look: PictureFacts, shape: Stored, shares: bool, habit: str, counts: Counter[str]
) -> Sequence[LabelBox]:
    """Boxes in the label's frame of reference -> pixels of the upright picture. Raises ValueError if it has another."""
    boxes = [box for box in one.label or () if isinstance(box, LabelBox)]
    here, as_stored = (float(look.width), float(look.height)), (float(shape.width), float(shape.height))
    if shares or one.size == (1, 1):
        said = one.size if shares and one.size in (here, as_stored) else here
        boxes = [LabelBox(box.name, _scaled(box.box, said or here)) for box in boxes]
        size = None if one.size == (1, 1) else one.size
    else:
        size = one.size
        _no_shares(boxes)
    if size not in (None, here, as_stored):
        assert size is not None
        raise ValueError(f"its label is for {size[0]:g} x {size[1]:g} pixels, it has {here[0]:g} x {here[1]:g}")
    if shape.orientation == 1 or not boxes:
        return boxes
    lying = size == as_stored != here  # EXIF 5 to 8, and the label says so itself
    if lying or (size == as_stored and habit == "stored"):
        return [LabelBox(box.name, _turned(box.box, as_stored, shape.orientation)) for box in boxes]
    if size != here or (here == as_stored and habit != "upright"):
        counts[
            "pictures are turned or mirrored by their EXIF orientation, and nothing says whether their boxes are: "
            "taken as drawn on the picture as a person sees it"
        ] += 1
    return boxes


def _no_shares(boxes: Sequence[LabelBox]) -> None:
    for one in boxes:
        sides = (abs(one.box[2] - one.box[0]), abs(one.box[3] - one.box[1]))
        if min(sides) > 0 and max(map(abs, one.box)) <= 1 and max(sides) < 1:
            raise ValueError(f"a box {one.box} looks like shares of the sides, and other boxes are in pixels")


def _scaled(box: Box, by: tuple[float, float]) -> Box:
    return box[0] * by[0], box[1] * by[1], box[2] * by[0], box[3] * by[1]


def _turned(box: Box, size: tuple[float, float], orientation: int) -> Box:
    """A box of the stored picture, whose size this is, in the upright one."""
    (x1, y1, x2, y2), (width, height) = box, size
    if orientation in (3, 4, 6, 7):  # the stored bottom is the upright top, or left
        y1, y2 = height - y2, height - y1
    if orientation in (2, 3, 7, 8):  # the stored right is the upright left, or top
        x1, x2 = width - x2, width - x1
    return (y1, x1, y2, x2) if orientation >= 5 else (x1, y1, x2, y2)


def _tidied(boxes: Sequence[LabelBox], look: PictureFacts, counts: Counter[str]) -> tuple[LabelBox, ...]:
    """Corners in order, cut off at the picture's edges, each box once; without those that have no size. Raises
    ValueError for one far outside."""
    kept: list[LabelBox] = []
    w, h = look.width, look.height
    for one in boxes:
        x1, x2 = sorted((one.box[0], one.box[2]))
        y1, y2 = sorted((one.box[1], one.box[3]))
        if max(-x1 / w, -y1 / h, x2 / w - 1, y2 / h - 1) > MOST_OUTSIDE:
            raise ValueError(f"a box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) outside of its {w} x {h} pixels")
        cut = (min(max(x1, 0.0), w), min(max(y1, 0.0), h), min(max(x2, 0.0), w), min(max(y2, 0.0), h))
        if min(cut[2] - cut[0], cut[3] - cut[1]) < SMALLEST_BOX:
            counts["boxes without width or height left out"] += 1
            continue
        counts["boxes were drawn from another corner than the upper left: corners sorted"] += (x1, y1) != one.box[:2]
        over = max(abs(a - b) for a, b in zip((x1, y1, x2, y2), cut, strict=True))
        counts["boxes cut off at the picture's edge"] += over > yolo_labels.TOLERANCE * max(w, h)
        if any(box.name == one.name and _apart(box.box, cut) <= SAME_BOX for box in kept):
            counts["boxes that are there already left out"] += 1
            continue
        kept.append(LabelBox(one.name, cut))
    return tuple(kept)


def same(left: Sequence[LabelBox], right: Sequence[LabelBox]) -> bool:
    """Whether two labels of one picture are the same boxes, to a pixel."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        twin = next((box for box in rest if box.name == one.name and _apart(box.box, one.box) <= 1), None)
        if twin is None:
            return False
        rest.remove(twin)
    return True


def _apart(left: Box, right: Box) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))
