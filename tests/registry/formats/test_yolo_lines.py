"""What the numbers of a YOLO label mean, judged from all lines of a source together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from registry.cases.records import ImportResult
from registry.core.errors import DataError
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import put, some
from tests.registry.made import HEIGHT, WIDTH, box_set

Numbers = Sequence[float]
RNG = np.random.default_rng(7)
# Centres and sizes, normalized, all over the picture.
BOXES = [
    (float(x), float(y), float(w), float(h))
    for x, y, w, h in np.round(
        np.column_stack([RNG.uniform(0.2, 0.8, 16), RNG.uniform(0.2, 0.8, 16), RNG.uniform(0.1, 0.35, (16, 2))]), 6
    )
]


def written(root: Path, line: Callable[[Numbers], Numbers], yaml: str = "") -> None:
    """A data set of one line a picture."""
    for n, one in enumerate(some(8, 4)):
        put(root / "images" / one.split / f"{one.name}.jpg", one.body)
        numbers = " ".join(f"{value:g}" for value in line(BOXES[n]))
        put(root / "labels" / one.split / f"{one.name}.txt", f"0 {numbers}\n")
    put(root / "data.yaml", f"names: [disc]\n{yaml}\n")


def imported(source: Path, out: Path) -> ImportResult:
    """The import, after a look at the boxes: every one is the one that was written."""
    taken = box_set().import_from(source, out, {})
    for (cx, cy, w, h), boxes in zip(BOXES, boxes_at(out).values(), strict=True):
        wanted = np.multiply((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), (WIDTH, HEIGHT) * 2)
        assert len(boxes) == 1
        assert np.abs(boxes[0][1] - wanted).max() < 0.01
    return taken


def keypoints(count: int, each: int, unlabelled: bool = False) -> Callable[[Numbers], Numbers]:
    def line(box: Numbers) -> Numbers:
        rng = np.random.default_rng(int(box[0] * 1e6))
        points = np.round(np.array(box[:2]) + rng.uniform(-0.5, 0.5, (count, 2)) * box[2:], 6)
        if unlabelled:
            points[0] = 0
        rows = np.column_stack([points, rng.integers(0, 3, count)]) if each == 3 else points
        return [*box, *rows.ravel()]

    return line


def corners(box: Numbers) -> list[float]:
    cx, cy, w, h = box
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy - h / 2, cx + w / 2, cy + h / 2, cx - w / 2, cy + h / 2]


@pytest.mark.parametrize("shape", [(1, 2), (1, 3), (2, 2), (2, 3), (4, 3), (5, 2), (7, 2), (17, 2), (17, 3), (21, 3)])
def test_poses_that_data_yaml_declares_are_their_boxes(shape: tuple[int, int], source: Path, out: Path) -> None:
    written(source, keypoints(*shape), f"kpt_shape: [{shape[0]}, {shape[1]}]")
    assert any(f"16 poses of {shape[0]} keypoints" in note for note in imported(source, out).notes)


def test_poses_without_visibility_where_three_numbers_are_declared_are_read_too(source: Path, out: Path) -> None:
    written(source, keypoints(17, 2), "kpt_shape: [17, 3]")
    imported(source, out)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (4, 3), (5, 2), (7, 2), (17, 2), (17, 3)])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_poses_that_nothing_declares_are_recognised(
    shape: tuple[int, int], unlabelled: bool, source: Path, out: Path
) -> None:
    written(source, keypoints(*shape, unlabelled))
    assert any("poses of" in note for note in imported(source, out).notes)


def test_another_count_than_the_declared_one_is_named(source: Path, out: Path) -> None:
    written(source, keypoints(4, 2), "kpt_shape: [7, 2]")
    with pytest.raises(DataError, match=r"shot_00.txt: line 1: 13 numbers, but kpt_shape \[7, 2\] needs 19"):
        box_set().import_from(source, out, {})


def middles(box: Numbers) -> list[float]:
    """The corners, and the middle of each side."""
    four = corners(box)
    eight = [*four, *four[:2]]
    return [value for n in range(0, 8, 2) for value in (*eight[n : n + 2], (eight[n] + eight[n + 2]) / 2,
            (eight[n + 1] + eight[n + 3]) / 2)]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "yaml", "message"),
    [
        (lambda box: box, "", ""),
        (lambda box: [*box, 0.87], "", "16 lines end with a confidence"),
        (lambda box: [*box, 41], "", "16 lines end with a track number"),
        (lambda box: [*box, 0.87, 41], "", "16 lines end with a confidence and a track number"),
        (corners, "", "16 outlines became"),
        (middles, "", "16 outlines became"),
        (lambda box: [*middles(box), 0.9], "task: segment", "16 outlines with a confidence"),
        (lambda box: corners(box) if box[0] < 0.5 else middles(box), "", "16 outlines became"),
        (lambda box: box if box[0] < 0.5 else middles(box), "", "outlines became"),
    ],
)
def test_what_programs_write_comes_in_as_its_box(line, yaml: str, message: str, source: Path, out: Path) -> None:
    written(source, line, yaml)
    assert message in "\n".join(imported(source, out).notes)


def twice(box: Numbers) -> list[float]:
    return [*box, 0.78125, 0.791667, 0.3125, 0.25]


@pytest.mark.parametrize("times", [2, 3])
def test_several_boxes_in_one_line_stop_with_each_file(times: int, source: Path, out: Path) -> None:
    written(source, lambda box: [*box, *twice(box)[4:] * (times - 1)])
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert (
        f"labels/train/shot_03.txt: line 1: {4 * times + 1} numbers: {times} boxes in one line?" in caught.value.found
    )
    assert "task: segment" in caught.value.found


def test_an_outline_that_could_be_two_boxes_is_named(source: Path, out: Path) -> None:
    written(source, lambda box: box)
    put(source / "labels/train/shot_01.txt", "0 0.2 0.2 0.4 0.2 0.4 0.5 0.3 0.6\n")
    notes = "\n".join(box_set().import_from(source, out, {}).notes)
    assert "9 numbers a line are taken as outlines, and could be 2 boxes in one line" in notes
    assert "labels/train/shot_01.txt" in notes


def test_an_angle_is_not_taken_for_a_confidence(source: Path, out: Path) -> None:
    written(source, lambda box: [*box, -0.4 if box[0] < 0.5 else 0.3])
    with pytest.raises(DataError, match="6 numbers, and the last is not a confidence"):
        box_set().import_from(source, out, {})


def test_a_box_written_twice_is_there_once(source: Path, out: Path) -> None:
    written(source, lambda box: box)
    label = source / "labels/val/shot_09.txt"
    label.write_text(label.read_text() * 3)
    assert any("2 duplicate boxes left out" in note for note in imported(source, out).notes)


def test_negative_sizes_are_corners_in_another_order(source: Path, out: Path) -> None:
    written(source, lambda box: (box[0], box[1], -box[2], box[3]))
    assert any("16 boxes were drawn from another corner" in note for note in imported(source, out).notes)
