"""ByteTrack: ids stay, through gaps, crossings and blur; the assignment is SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from registry.core.media import FloatArray
from registry.video.tracking import ByteTracker, assign

ONE = np.zeros(1, np.int64)


def box(x: float, y: float, edge: float = 40) -> FloatArray:
    return np.array([[x, y, x + edge, y + edge]], np.float32)


def follow(
    tracker: ByteTracker, boxes: FloatArray, score: float | FloatArray = 0.9, kind: int | list[int] = 0
) -> list[int]:
    scores = np.full(len(boxes), score, np.float32) if isinstance(score, float) else score
    kinds = np.full(len(boxes), kind) if isinstance(kind, int) else np.array(kind)
    return [int(one) for one in tracker.update(boxes, scores, kinds.astype(np.int64))]


@pytest.mark.parametrize("seed", range(60))
def test_the_assignment_saves_as_much_as_the_best_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, limit = rng.uniform(0, 1.5, rng.integers(0, 12, 2)), rng.uniform(0.2, 1.3)
    gain = np.maximum(limit - cost, 0)
    pairs = assign(cost, limit)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert all(cost[r, c] < limit for r, c in pairs)
    assert sum(gain[r, c] for r, c in pairs) == pytest.approx(gain[linear_sum_assignment(-gain)].sum())


def test_a_moving_object_keeps_one_id() -> None:
    tracker = ByteTracker(25, 0.3)
    assert [follow(tracker, box(8.0 * n, 50 + 3 * n)) for n in range(40)] == [[1]] * 40


def test_many_objects_keep_theirs_although_detections_shake_and_change_their_order() -> None:
    rng = np.random.default_rng(1)
    place, speed = rng.uniform(0, 2000, (12, 2)), rng.normal(0, 5, (12, 2))
    tracker = ByteTracker(25, 0.3)
    seen: dict[int, set[int]] = {n: set() for n in range(12)}
    for _ in range(60):
        place += speed
        order = rng.permutation(12)
        corners = np.concatenate([place, place + 60], axis=1) + rng.normal(0, 1.5, (12, 4))
        for n, found in zip(order.tolist(), follow(tracker, corners[order].astype(np.float32)), strict=True):
            seen[n].add(found)
    assert all(len(ids) == 1 for ids in seen.values())
    assert len(set.union(*seen.values())) == 12


def test_unsure_boxes_continue_a_track_but_begin_none() -> None:
    tracker = ByteTracker(25, 0.5)
    ids = [follow(tracker, box(5.0 * n, 0), 0.9 if n < 10 or n > 20 else 0.2)[0] for n in range(30)]
    assert ids == [1] * 30
    alone = ByteTracker(25, 0.5)
    assert [follow(alone, box(0, 0), 0.2) for _ in range(5)] == [[0]] * 5


def test_an_object_that_is_hidden_for_a_while_is_known_again_and_after_long_is_not() -> None:
    for gap, expected in ((12, 1), (60, 2)):
        tracker = ByteTracker(25, 0.3)
        for n in range(15):
            follow(tracker, box(6.0 * n, 0))
        for _ in range(gap):
            follow(tracker, np.zeros((0, 4), np.float32))
        last = [follow(tracker, box(6.0 * (15 + gap + n), 0))[0] for n in range(3)]
        assert last[-1] == expected, gap


def test_a_flicker_of_one_frame_gets_no_id() -> None:
    tracker = ByteTracker(25, 0.3)
    follow(tracker, box(0, 0))
    both = np.concatenate([box(0, 0), box(500, 500)])
    assert follow(tracker, both) == [1, 0]
    assert follow(tracker, box(0, 0)) == [1]
    assert follow(tracker, np.concatenate([box(0, 0), box(900, 100)])) == [1, 0]
    assert follow(tracker, np.concatenate([box(0, 0), box(902, 101)])) == [1, 2]


def test_classes_are_not_mixed_up() -> None:
    tracker = ByteTracker(25, 0.3)
    same = np.concatenate([box(0, 0), box(2, 2)])
    first = follow(tracker, same, kind=[0, 1])
    assert follow(tracker, same[::-1].copy(), kind=[1, 0]) == first[::-1]


def test_two_that_cross_keep_their_ids() -> None:
    tracker = ByteTracker(25, 0.3)
    ids = []
    for n in range(41):
        pair = np.concatenate([box(10.0 * n, 100), box(400 - 10.0 * n, 118)])
        ids.append(follow(tracker, pair))
    assert ids[-1] == ids[0] == [1, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_and_boxes_without_size_do_no_harm(count: int) -> None:
    tracker = ByteTracker(25, 0.3)
    for _ in range(5):
        assert len(follow(tracker, np.zeros((count, 4), np.float32))) == count
