"""YOLO label text: one line per box, `class cx cy w h`, normalized by the upright picture's width and height."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

TOLERANCE = 0.001
"""How far a box may reach over the picture's edge, as a fraction of the side: labels round to six decimals."""

DECIMALS = 6

_T = TypeVar("_T")


@dataclass(frozen=True)
class LabelBox:
    """A labelled object.

    Attributes:
        name: its class.
        box: x1, y1, x2, y2 in pixels of the upright picture; x to the right, y down.
    """

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelLine:
    """One line of a label file.

    Attributes:
        number: the class number.
        box: x1, y1, x2, y2 as fractions of the picture's width and height.
        polygon: whether the line holds an outline (YOLO's segmentation format); `box` then encloses it.
    """

    number: int
    box: tuple[float, float, float, float]
    polygon: bool = False

    @classmethod
    def from_box(cls, numbers: Sequence[float]) -> LabelLine:
        """Reads `class cx cy w h` and ignores what follows."""
        cx, cy, w, h = numbers[1:5]
        return cls(int(numbers[0]), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))

    @classmethod
    def from_outline(cls, numbers: Sequence[float]) -> LabelLine:
        """Reads `class x1 y1 x2 y2 ...`."""
        xs, ys = numbers[1::2], numbers[2::2]
        return cls(int(numbers[0]), (min(xs), min(ys), max(xs), max(ys)), polygon=True)

    @property
    def empty(self) -> bool:
        x1, y1, x2, y2 = self.box
        return x2 <= x1 or y2 <= y1

    @property
    def smallest(self) -> float:
        """The lesser of width and height, as a fraction of the picture's."""
        x1, y1, x2, y2 = self.box
        return min(x2 - x1, y2 - y1)

    @property
    def outside(self) -> float:
        """How far the box reaches over the picture's edge, as a fraction of the side; 0 or less if it does not."""
        x1, y1, x2, y2 = self.box
        return max(-x1, -y1, x2 - 1, y2 - 1)


def parse(text: str) -> tuple[list[LabelLine], list[str]]:
    """The lines that hold a box or an outline, and the problems with all others, e.g. `line 3: 4 numbers`."""
    return parse_lines(text, lambda at, numbers: _box_or_outline(numbers))


def parse_lines(text: str, convert: Callable[[int, Sequence[float]], _T]) -> tuple[list[_T], list[str]]:
    """Converts every line that holds a class number and at least four finite numbers. Skips blank lines.

    Args:
        convert: called with the line's number, from 1, and its numbers. Raises ValueError for a line it cannot use.

    Returns:
        the converted lines, and the problems with all others.
    """
    found, problems = [], []
    for at, raw in enumerate(text.splitlines(), start=1):
        if raw.strip():
            try:
                found.append(convert(at, _numbers(raw.strip())))
            except ValueError as error:
                problems.append(f"line {at}: {error}")
    return found, problems


def _numbers(line: str) -> Sequence[float]:
    try:
        numbers = array("d", map(float, line.split()))  # outlines have thousands
    except ValueError:
        raise ValueError(f"{line[:40]!r} are not numbers") from None
    if not all(map(math.isfinite, numbers)) or numbers[0] < 0 or numbers[0] != int(numbers[0]):
        raise ValueError(f"{line[:40]!r} is not a class number and finite coordinates")
    if len(numbers) < 5:
        raise ValueError(f"{len(numbers)} numbers")
    return numbers


def _box_or_outline(numbers: Sequence[float]) -> LabelLine:
    if len(numbers) == 5:
        return LabelLine.from_box(numbers)
    if len(numbers) % 2:
        return LabelLine.from_outline(numbers)
    raise ValueError(f"{len(numbers)} numbers")


def problems_of(lines: Iterable[LabelLine], classes: int) -> list[str]:
    """Problems of parsed boxes: an unknown class, no width or height, or a reach over the picture's edge."""
    found = []
    for line in lines:
        if line.number >= classes:
            found.append(f"class number {line.number}, and there are {classes} classes")
        if line.empty:
            found.append("a box without width or height")
        elif line.outside > TOLERANCE:
            found.append(f"a box that reaches {line.outside:.1%} of the side over the picture's edge")
    return found


def text_of(boxes: Iterable[LabelBox], classes: Sequence[str], width: int, height: int) -> str:
    """Boxes in pixels of a picture of that size -> label text. Raises ValueError for a name not in `classes`."""
    numbers = {name: n for n, name in enumerate(classes)}
    lines = []
    for one in boxes:
        if one.name not in numbers:
            raise ValueError(f"{one.name!r} is not one of {', '.join(classes)}")
        x1, y1, x2, y2 = one.box
        normalized = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(" ".join((str(numbers[one.name]), *(f"{value:.{DECIMALS}f}" for value in normalized))) + "\n")
    return "".join(lines)
