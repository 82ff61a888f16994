"""Decides what the numbers on YOLO label lines mean: boxes, outlines, oriented boxes, poses or predictions.

A line does not declare its format. 9 numbers may be an outline of four points, an oriented box, two boxes without a
line break between them, or a pose of two keypoints. So an interpretation must fit all lines of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from registry.cases.yolo_labels import LabelLine

EDGE_TOLERANCE = 0.02
"""How far a plausible box or point may reach over the picture's edge, as a fraction of the side."""

KEYPOINT_MARGIN = 0.1
"""How far a keypoint may lie outside its box, as a fraction of the box's side."""

MIN_POSE_LINES = 3
"""Fewer lines are no evidence for poses: a single outline may look like one by chance."""

TASKS = ("detect", "segment", "obb", "pose")

Numbers = Sequence[float]
Groups = Mapping[int, Sequence[Numbers]]
"""The lines of a source by their count of numbers."""


@dataclass(frozen=True)
class NumberedLine:
    """A line's position in its file, from 1, and its numbers, class number included."""

    at: int
    numbers: Numbers


@dataclass
class Interpretation:
    """How to read the lines of a source, by their count of numbers.

    Attributes:
        converters: count -> how such a line becomes a box.
        rejected: count -> why such lines stop the import.
        ambiguous: count -> what else such lines could be; the import names their files.
        notes: for the user, e.g. `12 poses ...`.
    """

    converters: dict[int, Callable[[Numbers], LabelLine]] = field(default_factory=lambda: {5: LabelLine.from_box})
    rejected: dict[int, str] = field(default_factory=dict)
    ambiguous: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def accept_poses(self, count: int, lines: int, keypoints: int = 0) -> None:
        self.converters[count] = LabelLine.from_box
        of = f" of {keypoints} keypoints" if keypoints else ""
        self.notes.append(f"{lines} poses{of} ({count} numbers a line): their boxes are taken, columns 2 to 5")

    def accept_predictions(self, count: int, lines: int, ending: str) -> None:
        self.converters[count] = LabelLine.from_box
        self.notes.append(f"{lines} lines end with {ending}, which is ignored: predictions used as labels")


def interpret(lines: Sequence[NumberedLine], task: str = "", shape: tuple[int, int] | None = None) -> Interpretation:
    """Decides how to read the lines of one source.

    Args:
        task: one of `TASKS` if data.yaml names it, else "".
        shape: its `kpt_shape`: how many keypoints, and numbers for each (2, or 3 with visibility).
    """
    groups: dict[int, list[Numbers]] = {}
    for line in lines:
        groups.setdefault(len(line.numbers), []).append(line.numbers)
    groups.pop(5, None)
    result = Interpretation()
    if shape is not None or task == "pose":
        _declared_poses(result, groups, shape)
        return result
    if 6 in groups:
        _six_numbers(result, groups.pop(6))
    if task not in ("segment", "obb") and 7 in groups and _have_track_numbers(groups[7]):
        result.accept_predictions(7, len(groups.pop(7)), "a confidence and a track number")
    if not task and (count := _count_of_visible_poses(groups)):
        result.accept_poses(count, len(groups.pop(count)), (count - 5) // 3)
    if odd := {count: group for count, group in groups.items() if count % 2}:
        _odd_counts(result, odd, task)
    outlines = task in ("segment", "obb") or (len(groups) > 1 and task != "detect")
    for count, group in groups.items():
        if count % 2 == 0 and outlines and all(0 <= numbers[-1] <= 1 for numbers in group):
            result.converters[count] = lambda numbers: LabelLine.from_outline(numbers[:-1])
            result.notes.append(f"{len(group)} outlines with a confidence: predictions used as labels")
        elif count % 2 == 0:
            result.rejected[count] = f"{count} numbers"
    return result


def _declared_poses(result: Interpretation, groups: Groups, shape: tuple[int, int] | None) -> None:
    for count, group in groups.items():
        if shape is None or count in (5 + 2 * shape[0], 5 + 3 * shape[0]):
            result.accept_poses(count, len(group), shape[0] if shape else 0)
        else:
            needed = 5 + shape[0] * shape[1]
            result.rejected[count] = f"{count} numbers, but kpt_shape [{shape[0]}, {shape[1]}] needs {needed}"


def _six_numbers(result: Interpretation, group: Sequence[Numbers]) -> None:
    """Accepts a confidence or a track number after the box. An angle would make the box an oriented one."""
    last = [numbers[5] for numbers in group]
    if all(0 <= value <= 1 for value in last):
        result.accept_predictions(6, len(group), "a confidence")
    elif all(value >= 0 and value == int(value) for value in last):
        result.accept_predictions(6, len(group), "a track number")
    else:
        result.rejected[6] = (
            "6 numbers, and the last is not a confidence; if it is an angle, export upright boxes or four corners"
        )


def _have_track_numbers(group: Sequence[Numbers]) -> bool:
    """`class cx cy w h confidence track`: in triangles, the last coordinates would not all be whole numbers."""
    whole = all(one[6] == int(one[6]) and one[6] >= 0 and 0 <= one[5] <= 1 for one in group)
    return whole and any(one[6] > 1 for one in group)


def _count_of_visible_poses(groups: Groups) -> int:
    """The count of numbers of poses whose keypoints all have a visibility of 0, 1 or 2; 0 without such poses."""
    for count, group in groups.items():
        if (count - 5) % 3 == 0 and all(set(one[7::3]) <= {0, 1, 2} and _is_box_in_picture(one) for one in group):
            return count
    return 0


def _odd_counts(result: Interpretation, odd: Groups, task: str) -> None:
    """Reads outlines, unless something else fits every line and outlines do not."""
    lines = [numbers for group in odd.values() for numbers in group]
    oriented = all(len(one) == 9 and _is_parallelogram(one) for one in lines)
    boxes = all(len(one) % 4 == 1 and _is_row_of_boxes(one) for one in lines)
    pose = len(odd) == 1 and all(_is_pose(one) for one in lines)
    if task in ("segment", "obb") or oriented or not (boxes or pose or task == "detect"):
        result.converters.update(dict.fromkeys(odd, LabelLine.from_outline))
        return
    outlines = all(_is_in_picture(one) and not _crosses_itself(one) for one in lines)
    count = max(odd)
    if pose and not boxes and not outlines:
        result.accept_poses(count, len(lines), (count - 5) // 2)
    elif task == "detect" or not outlines or (pose and len(lines) >= MIN_POSE_LINES and count > 9):
        result.rejected.update({count: _question(count, boxes, pose) for count in odd})
    else:
        for count in odd:
            other = f"{(count - 1) // 4} boxes in one line" if boxes else f"poses of {(count - 5) // 2} keypoints"
            result.converters[count] = LabelLine.from_outline
            result.ambiguous[count] = f"{count} numbers a line are taken as outlines, and could be {other}"


def _question(count: int, boxes: bool, pose: bool) -> str:
    """What a line of so many numbers may be, and how to settle it."""
    keypoints = (count - 5) // 2
    options = [f"{(count - 1) // 4} boxes in one line? Write each on its own line, with its class"] * boxes
    options += [f"a pose of {keypoints} keypoints? Add `kpt_shape: [{keypoints}, 2]` to data.yaml"] * pose
    return f"{count} numbers: " + "; or ".join([*options, "an outline? Add `task: segment` to data.yaml"])


_Point = tuple[float, float]


def _points(numbers: Numbers) -> list[_Point]:
    return list(zip(numbers[1::2], numbers[2::2], strict=False))


def _is_in_picture(numbers: Numbers) -> bool:
    return all(-EDGE_TOLERANCE <= value <= 1 + EDGE_TOLERANCE for value in numbers[1:])


def _is_box_in_picture(numbers: Numbers) -> bool:
    """Whether columns 2 to 5 are a box with a size, inside the picture."""
    line = LabelLine.from_box(numbers)
    return not line.empty and line.outside <= EDGE_TOLERANCE


def _is_row_of_boxes(numbers: Numbers) -> bool:
    return all(_is_box_in_picture((0, *numbers[at : at + 4])) for at in range(1, len(numbers), 4))


def _is_pose(numbers: Numbers) -> bool:
    """Whether every keypoint lies in the box of columns 2 to 5, or is 0 0: not labelled."""
    if not _is_box_in_picture(numbers):
        return False
    x1, y1, x2, y2 = LabelLine.from_box(numbers).box
    w, h = (x2 - x1) * KEYPOINT_MARGIN, (y2 - y1) * KEYPOINT_MARGIN
    return all(
        (x, y) == (0, 0) or (x1 - w <= x <= x2 + w and y1 - h <= y <= y2 + h) for x, y in _points(numbers)[2:]
    )  # fmt: skip


def _is_parallelogram(numbers: Numbers) -> bool:
    """Whether both diagonals have the same middle, as an oriented box's do in a picture of any proportions."""
    a, b, c, d = _points(numbers)
    return all(abs(a[n] + c[n] - b[n] - d[n]) < 0.004 for n in (0, 1))


def _crosses_itself(numbers: Numbers) -> bool:
    """Whether two edges of the outline cross. Of thousands of points some 60 are looked at."""
    points = _points(numbers)
    points = points[:: max(1, len(points) // 60)]
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    return any(_cross(*edges[i], *edges[j]) for i in range(len(edges)) for j in range(i + 2, len(edges) - (i == 0)))


def _cross(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    def side(p: _Point, q: _Point, r: _Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
