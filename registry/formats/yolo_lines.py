"""What the numbers of somebody's YOLO labels mean: boxes, outlines, oriented boxes, poses, predictions.

No line says which it is. 9 numbers are an outline of four points, an oriented box, two boxes whose author forgot a line
break, or a pose of two keypoints. So all lines of a source are judged together: a reading must hold for every one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from registry.cases.yolo_labels import Line

_EDGE = 0.02
"""How far a box or a point may reach over the edge, as a share of the side, and still speak for a reading."""

_ROOM = 0.1
"""How far a keypoint may lie outside of its box, as a share of the box's side."""

_FEW = 3
"""Fewer lines than this are no evidence for poses: one small outline looks like one by chance."""

TASKS = ("detect", "segment", "obb", "pose")


@dataclass(frozen=True)
class Cells:
    """The numbers of one line, class number included, and the line's own number, from 1."""

    at: int
    numbers: Sequence[float]


@dataclass
class Meaning:
    """How the lines of a source are read: for a count of numbers, the reading or what is wrong with it.

    Attributes:
        readings: count of numbers -> how a line of so many becomes a box.
        wrong: count of numbers -> why such lines stop the import.
        unsure: counts that could mean something else as well; the answer names their files.
        notes: kinds of lines, for the answer: `12 poses ...`.
    """

    readings: dict[int, Callable[[Sequence[float]], Line]] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)
    unsure: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def cells(text: str) -> tuple[list[Cells], list[str]]:
    """The lines of a label file, and what is wrong with those that are not a class number and finite numbers."""
    found, problems = [], []
    for at, raw in enumerate(text.splitlines(), start=1):
        parts = raw.split()
        if not parts:
            continue
        try:
            numbers = array("d", map(float, parts))  # outlines are many numbers
        except ValueError:
            problems.append(f"line {at}: {raw.strip()[:40]!r} are not numbers")
            continue
        if not all(map(math.isfinite, numbers)) or numbers[0] < 0 or numbers[0] != int(numbers[0]):
            problems.append(f"line {at}: {raw.strip()[:40]!r} is not a class number and finite shares")
        elif len(numbers) < 5:
            problems.append(f"line {at}: {len(numbers)} numbers")
        else:
            found.append(Cells(at, numbers))
    return found, problems


def meaning(lines: Sequence[Cells], task: str = "", keypoints: tuple[int, int] | None = None) -> Meaning:
    """What the lines of one source mean.

    Args:
        lines: all of them.
        task: one of `TASKS` if data.yaml says it, else "".
        keypoints: its `kpt_shape`: how many, and numbers for each (2, or 3 with visibility).
    """
    by_count: dict[int, list[Sequence[float]]] = {}
    for line in lines:
        by_count.setdefault(len(line.numbers), []).append(line.numbers)
    result = Meaning({5: _box})
    long = {count: group for count, group in by_count.items() if count > 5}
    if keypoints is not None or task == "pose":
        _poses(result, long, keypoints)
        return result
    if 6 in long:
        _six(result, long.pop(6))
    if task not in ("segment", "obb") and 7 in long and _tracked(long[7]):
        _predictions(result, 7, len(long.pop(7)), "a confidence and a track's number")
    if not task and (count := _visible_pose(long)):
        _take_poses(result, count, len(long.pop(count)), (count - 5) // 3)
    odd = {count: group for count, group in long.items() if count % 2}
    even = {count: group for count, group in long.items() if not count % 2}
    if odd:
        _odd(result, odd, task)
    various = task in ("segment", "obb") or len(long) > 1
    for count, group in even.items():
        if various and task != "detect" and all(0 <= one[-1] <= 1 for one in group):
            result.readings[count] = lambda numbers: _outline(numbers[:-1])
            result.notes.append(f"{len(group)} outlines with a confidence: predictions used as labels")
        else:
            result.wrong[count] = f"{count} numbers"
    return result


def _box(numbers: Sequence[float]) -> Line:
    cx, cy, w, h = numbers[1:5]
    return Line(int(numbers[0]), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))


def _outline(numbers: Sequence[float]) -> Line:
    xs, ys = numbers[1::2], numbers[2::2]
    return Line(int(numbers[0]), (min(xs), min(ys), max(xs), max(ys)), polygon=True)


def _poses(result: Meaning, long: Mapping[int, Sequence[Sequence[float]]], keypoints: tuple[int, int] | None) -> None:
    """data.yaml says that these are poses."""
    for count, group in long.items():
        fits = count in (5 + 2 * keypoints[0], 5 + 3 * keypoints[0]) if keypoints else True
        if fits:
            _take_poses(result, count, len(group), keypoints[0] if keypoints else 0)
        else:
            number, each = keypoints or (0, 0)
            result.wrong[count] = f"{count} numbers, and kpt_shape [{number}, {each}] asks for {5 + number * each}"


def _take_poses(result: Meaning, count: int, lines: int, keypoints: int) -> None:
    result.readings[count] = _box
    of = f" of {keypoints} keypoints" if keypoints else ""
    result.notes.append(f"{lines} poses{of} ({count} numbers a line) are taken as the boxes of their columns 2 to 5")


def _predictions(result: Meaning, count: int, lines: int, what: str) -> None:
    result.readings[count] = _box
    result.notes.append(f"{lines} lines end with {what}, which is left out: predictions used as labels")


def _six(result: Meaning, group: Sequence[Sequence[float]]) -> None:
    """A confidence, or a track's number; but an angle would be a box that is not upright."""
    last = [one[5] for one in group]
    if all(0 <= value <= 1 for value in last):
        _predictions(result, 6, len(group), "a confidence")
    elif all(value >= 0 and value == int(value) for value in last):
        _predictions(result, 6, len(group), "a track's number")
    else:
        result.wrong[6] = "6 numbers, and the last is no confidence: an angle? Export upright boxes, or four corners"


def _tracked(group: Sequence[Sequence[float]]) -> bool:
    """`class cx cy w h confidence track`: a corner of a triangle would hardly be a whole number each time."""
    whole = all(one[6] == int(one[6]) and one[6] >= 0 and 0 <= one[5] <= 1 for one in group)
    return whole and any(one[6] > 1 for one in group)


def _visible_pose(long: Mapping[int, Sequence[Sequence[float]]]) -> int:
    """The count of numbers of poses with visibility, which is 0, 1 or 2 at every keypoint; 0 if these are none."""
    for count, group in long.items():
        if (count - 5) % 3 == 0 and all(set(one[7::3]) <= {0, 1, 2} and _inside(one) for one in group):
            return count
    return 0


def _odd(result: Meaning, odd: Mapping[int, Sequence[Sequence[float]]], task: str) -> None:
    """Outlines, unless something else holds for every line and outlines do not."""
    every = [one for group in odd.values() for one in group]
    oriented = all(len(one) == 9 and _parallelogram(one) for one in every)
    boxes = all(len(one) % 4 == 1 and _all_boxes(one) for one in every)
    pose = len(odd) == 1 and all(_pose(one) for one in every)
    if task in ("segment", "obb") or oriented or not (boxes or pose or task == "detect"):
        result.readings.update(dict.fromkeys(odd, _outline))
        return
    outlines = all(_in_picture(one) and _simple(one) for one in every)
    count = max(odd)
    keypoints = (count - 5) // 2
    if pose and not boxes and not outlines:
        _take_poses(result, count, len(every), keypoints)
    elif task == "detect" or not outlines or (pose and len(every) >= _FEW and count > 9):
        for count in odd:
            result.wrong[count] = _choice(count, boxes, pose)
    else:
        for count in odd:
            other = f"{(count - 1) // 4} boxes in one line" if boxes else f"poses of {keypoints} keypoints"
            result.readings[count] = _outline
            result.unsure[count] = f"{count} numbers a line are taken as outlines, and could be {other}"


def _choice(count: int, boxes: bool, pose: bool) -> str:
    """What a line of so many numbers may be, and what settles it."""
    keypoints = (count - 5) // 2
    says = [f"{(count - 1) // 4} boxes in one line? Write each in a line of its own, with its class"] * boxes
    says += [f"a pose of {keypoints} keypoints? Add `kpt_shape: [{keypoints}, 2]` to data.yaml"] * pose
    says += ["an outline? Add `task: segment` to data.yaml"]
    return f"{count} numbers: " + "; or ".join(says)


def _points(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[1::2], numbers[2::2], strict=False))


def _in_picture(numbers: Sequence[float]) -> bool:
    return all(-_EDGE <= value <= 1 + _EDGE for value in numbers[1:])


def _inside(numbers: Sequence[float]) -> bool:
    """The box of columns 2 to 5 has a size and lies in the picture."""
    line = _box(numbers)
    return not line.empty and line.outside <= _EDGE


def _all_boxes(numbers: Sequence[float]) -> bool:
    return all(_inside((0, *numbers[at : at + 4])) for at in range(1, len(numbers), 4))


def _pose(numbers: Sequence[float]) -> bool:
    """Every keypoint lies in the box of columns 2 to 5, or is 0 0: not labelled."""
    if not _inside(numbers):
        return False
    x1, y1, x2, y2 = _box(numbers).box
    w, h = (x2 - x1) * _ROOM, (y2 - y1) * _ROOM
    return all(
        (x, y) == (0, 0) or (x1 - w <= x <= x2 + w and y1 - h <= y <= y2 + h) for x, y in _points(numbers)[2:]
    )  # fmt: skip


def _parallelogram(numbers: Sequence[float]) -> bool:
    """An oriented box's opposite corners have one middle, in shares of any picture's sides."""
    a, b, c, d = _points(numbers)
    return all(abs(a[n] + c[n] - b[n] - d[n]) < 0.004 for n in (0, 1))


def _simple(numbers: Sequence[float]) -> bool:
    """Whether the outline does not cross itself. People draw thousands of points: then a part of them will do."""
    points = _points(numbers)
    points = points[:: max(1, len(points) // 60)]
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    return not any(
        _cross(*edges[i], *edges[j]) for i in range(len(edges)) for j in range(i + 2, len(edges) - (i == 0))
    )  # fmt: skip


_Point = tuple[float, float]


def _cross(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    def side(p: _Point, q: _Point, r: _Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
