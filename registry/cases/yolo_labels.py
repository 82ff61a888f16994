"""YOLO's label text: one line per box, `class cx cy w h`, as shares of the upright picture's width and height."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TOLERANCE = 0.001
"""How far a box may reach over the picture's edge, as a share of the side: six decimals are rounded."""

DECIMALS = 6


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
class Line:
    """One line: class number, and x1, y1, x2, y2 as shares of the picture's width and height.

    `polygon`: the line held an outline (YOLO's segmentation format), and this is the box around it.
    """

    number: int
    box: tuple[float, float, float, float]
    polygon: bool = False

    @property
    def empty(self) -> bool:
        x1, y1, x2, y2 = self.box
        return x2 <= x1 or y2 <= y1

    @property
    def smallest(self) -> float:
        """Its width or its height, whichever is less, as a share of the picture's."""
        x1, y1, x2, y2 = self.box
        return min(x2 - x1, y2 - y1)

    @property
    def outside(self) -> float:
        """How far it reaches over the picture's edge, as a share of the side; 0 or less: not at all."""
        x1, y1, x2, y2 = self.box
        return max(-x1, -y1, x2 - 1, y2 - 1)


def parse(text: str) -> tuple[list[Line], list[str]]:
    """The lines, and problems with others, e.g. `line 3: 4 numbers`. Blank lines are skipped."""
    lines, problems = [], []
    for at, raw in enumerate(text.splitlines(), start=1):
        cells = raw.split()
        if not cells:
            continue
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            problems.append(f"line {at}: {raw.strip()[:40]!r} are not numbers")
            continue
        if not all(map(math.isfinite, numbers)) or numbers[0] < 0 or numbers[0] != int(numbers[0]):
            problems.append(f"line {at}: {raw.strip()[:40]!r} is not a class number and finite shares")
        elif len(numbers) == 5:
            cx, cy, w, h = numbers[1:]
            lines.append(Line(int(numbers[0]), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)))
        elif len(numbers) >= 7 and len(numbers) % 2 == 1:
            xs, ys = numbers[1::2], numbers[2::2]
            lines.append(Line(int(numbers[0]), (min(xs), min(ys), max(xs), max(ys)), polygon=True))
        else:
            problems.append(f"line {at}: {len(numbers)} numbers")
    return lines, problems


def problems_of(lines: Iterable[Line], classes: int) -> list[str]:
    """Problems of readable boxes: an unknown class, no size, or a reach over the picture's edge."""
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
    """Pixels of a picture of that size -> label text. Raises ValueError for a name that is not in `classes`."""
    numbers = {name: n for n, name in enumerate(classes)}
    lines = []
    for one in boxes:
        if one.name not in numbers:
            raise ValueError(f"{one.name!r} is not one of {', '.join(classes)}")
        x1, y1, x2, y2 = one.box
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(" ".join((str(numbers[one.name]), *(f"{share:.{DECIMALS}f}" for share in shares))) + "\n")
    return "".join(lines)
