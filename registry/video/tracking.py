"""ByteTrack: detections of successive frames become tracks with ids.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (ECCV 2022, arXiv:2110.06864): first
the sure boxes are matched with where a Kalman filter expects each track, then the unsure ones with what is left, which
keeps tracks through blur and occlusion. Parameters are those of the authors' code; boxes match within a class only.

Written out here because supervision's costs a service 81 MB and SciPy's assignment 56 MB; results of the assignment
are the same (tested).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import overlaps
from registry.core.media import FloatArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

LOW = 0.1
"""Least score of a box that may continue a track."""
NEW = 0.1
"""How far above the threshold a box must be to begin one."""
MEMORY_S = 1.0
"""How long a track that is not seen is looked for."""
SURE, UNSURE, UNCONFIRMED = 0.8, 0.5, 0.7
"""Greatest cost (1 - IoU, or 1 - IoU x score) of a match in each of the three rounds."""
_POSITION, _VELOCITY = 1 / 20, 1 / 160  # of a box's height: standard deviations per frame, as in DeepSORT


@dataclass
class _Tracks:
    """All tracks at once: row n of each array is one track.

    Attributes:
        mean: float64 [T, 8]: centre x and y, width over height, height, and the change of each per frame.
        covariance: float64 [T, 8, 8].
        seen: int64 [T], the frame it was last seen in.
        id: int64 [T], 0 until it was seen twice (at once in the first frame).
    """

    mean: Numbers
    covariance: Numbers
    classes: Indices
    seen: Indices
    id: Indices

    @classmethod
    def none(cls) -> _Tracks:
        zero = np.zeros(0, np.int64)
        return cls(np.zeros((0, 8)), np.zeros((0, 8, 8)), zero, zero, zero)

    def take(self, which: NDArray[np.bool_]) -> _Tracks:
        return _Tracks(self.mean[which], self.covariance[which], self.classes[which], self.seen[which], self.id[which])

    def joined(self, other: _Tracks) -> _Tracks:
        return _Tracks(
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self.covariance, other.covariance]),
            np.concatenate([self.classes, other.classes]),
            np.concatenate([self.seen, other.seen]),
            np.concatenate([self.id, other.id]),
        )

    def boxes(self) -> FloatArray:
        """float32 [T, 4], x1 y1 x2 y2."""
        x, y, aspect, height = self.mean[:, :4].T
        height = np.maximum(height, 1e-3)
        width = np.maximum(aspect * height, 1e-3)
        return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1).astype(np.float32)


class ByteTracker:
    """Follows the objects of one clip. Not to be used by two threads at a time.

    Args:
        fps: frames per second, for how long a lost track is remembered.
        threshold: least score of a sure box.
    """

    def __init__(self, fps: float, threshold: float) -> None:
        self._threshold = threshold
        self._memory = max(1, round(MEMORY_S * fps))
        self._tracks = _Tracks.none()
        self._frame = -1
        self._ids = 0

    def update(self, boxes: FloatArray, scores: FloatArray, classes: Indices) -> Indices:
        """The next frame's boxes (float32 [N, 4], x1 y1 x2 y2) -> track id of each, int64 [N], 0 where it has none."""
        self._frame += 1
        tracks = self._tracks
        _predict(tracks, self._frame)
        before = self._frame - 1
        confirmed = np.flatnonzero(tracks.id > 0)
        fresh = np.flatnonzero(tracks.id == 0)
        sure = np.flatnonzero(scores >= self._threshold)
        unsure = np.flatnonzero((scores >= min(LOW, self._threshold)) & (scores < self._threshold))
        expected = tracks.boxes()

        def match(rows: Indices, columns: Indices, limit: float, weigh: bool) -> list[tuple[int, int]]:
            near = overlaps(expected[rows], boxes[columns]).astype(np.float64)
            cost = 1 - near * scores[columns] if weigh else 1 - near
            cost = np.where(tracks.classes[rows][:, None] == classes[columns][None], cost, 2.0)
            return [(int(rows[r]), int(columns[c])) for r, c in assign(cost, limit)]

        pairs = match(confirmed, sure, SURE, True)
        left = _without(confirmed, [row for row, _ in pairs])
        pairs += match(left[tracks.seen[left] == before], unsure, UNSURE, False)
        free = _without(sure, [column for _, column in pairs])
        pairs += match(fresh, free, UNCONFIRMED, True)
        free = _without(free, [column for _, column in pairs])

        ids = np.zeros(len(scores), np.int64)
        if pairs:
            rows, columns = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
            _correct(tracks, rows, _measured(boxes[columns]))
            tracks.seen[rows] = self._frame
            for row in rows[tracks.id[rows] == 0]:
                tracks.id[row] = self._next()
            ids[columns] = tracks.id[rows]
        current = tracks.seen == self._frame
        remembered = (tracks.id > 0) & (self._frame - tracks.seen <= self._memory)
        kept = tracks.take(current | remembered)
        begins = free[scores[free] >= min(self._threshold + NEW, 0.95)]
        born = _born(_measured(boxes[begins]), classes[begins], self._frame)
        if self._frame == 0:
            born.id[:] = [self._next() for _ in begins]
            ids[begins] = born.id
        self._tracks = kept.joined(born)
        return ids

    def _next(self) -> int:
        self._ids += 1
        return self._ids


def _without(indices: Indices, gone: list[int]) -> Indices:
    return indices[~np.isin(indices, gone)]


def _measured(boxes: FloatArray) -> Numbers:
    """[N, 4] corners -> centre x and y, width over height, height."""
    corners = boxes.astype(np.float64).reshape(-1, 4)
    size = np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)
    centre = (corners[:, 2:] + corners[:, :2]) / 2
    return np.column_stack([centre, size[:, 0] / size[:, 1], size[:, 1]])


def _spread(height: Numbers, position: float, aspect: float, velocity: float, turn: float) -> Numbers:
    """Diagonal covariances [T, 8, 8] from the heights [T]."""
    p, v, one = position * height, velocity * height, np.ones_like(height)
    deviation = np.stack([p, p, aspect * one, p, v, v, turn * one, v], axis=1)
    return np.asarray(np.square(deviation)[:, :, None] * np.eye(8), dtype=np.float64)


def _born(measured: Numbers, classes: Indices, frame: int) -> _Tracks:
    n = len(measured)
    mean = np.concatenate([measured, np.zeros((n, 4))], axis=1)
    covariance = _spread(measured[:, 3], 2 * _POSITION, 1e-2, 10 * _VELOCITY, 1e-5)
    return _Tracks(mean, covariance, classes.copy(), np.full(n, frame), np.zeros(n, np.int64))


_STEP = np.eye(8) + np.eye(8, k=4)


def _predict(tracks: _Tracks, frame: int) -> None:
    """One frame on. A lost track's height no longer changes, or it would shrink to nothing."""
    if not len(tracks.mean):
        return
    tracks.mean[tracks.seen < frame - 1, 7] = 0
    noise = _spread(np.maximum(tracks.mean[:, 3], 1e-3), _POSITION, 1e-2, _VELOCITY, 1e-5)
    tracks.mean = tracks.mean @ _STEP.T
    tracks.covariance = _STEP @ tracks.covariance @ _STEP.T + noise


def _correct(tracks: _Tracks, rows: Indices, measured: Numbers) -> None:
    """The Kalman filter's update of some tracks with what was measured, [N, 4]."""
    mean, covariance = tracks.mean[rows], tracks.covariance[rows]
    height = np.maximum(mean[:, 3], 1e-3)
    noise = _spread(height, _POSITION, 1e-1, 1, 1)[:, :4, :4]
    innovation = covariance[:, :4, :4] + noise
    gain = np.linalg.solve(innovation, covariance[:, :4, :]).transpose(0, 2, 1)  # both are symmetric
    tracks.mean[rows] = mean + np.einsum("nij,nj->ni", gain, measured - mean[:, :4])
    tracks.covariance[rows] = covariance - gain @ covariance[:, :4, :]


def assign(cost: Numbers, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of `cost` [R, C], none above `limit`, that together save the most: the sum of
    `limit - cost` is greatest. Rows and columns that only have each other are paired at once; the rest by the
    Hungarian method in the form of Jonker and Volgenant (shortest augmenting paths)."""
    gain = np.maximum(limit - cost, 0.0)
    possible = gain > 0
    alone = possible & (possible.sum(axis=1, keepdims=True) == 1) & (possible.sum(axis=0, keepdims=True) == 1)
    pairs = [(int(r), int(c)) for r, c in np.argwhere(alone)]
    possible &= ~alone
    rows, columns = np.flatnonzero(possible.any(axis=1)), np.flatnonzero(possible.any(axis=0))
    if len(rows) > len(columns):
        found = [(int(rows[r]), int(columns[c])) for c, r in _cheapest(-gain[np.ix_(rows, columns)].T)]
    else:
        found = [(int(rows[r]), int(columns[c])) for r, c in _cheapest(-gain[np.ix_(rows, columns)])]
    return sorted(pairs + [(r, c) for r, c in found if gain[r, c] > 0])


def _cheapest(cost: Numbers) -> list[tuple[int, int]]:
    """A column for each row of `cost` [R, C], R <= C, so that the sum is least."""
    count, width = cost.shape
    of_row, of_column = np.zeros(count + 1), np.zeros(width + 1)
    owner = np.zeros(width + 1, np.int64)  # row of each column, from 1; 0: free
    for row in range(1, count + 1):
        owner[0], column = row, 0
        least = np.full(width + 1, np.inf)
        came = np.zeros(width + 1, np.int64)
        used = np.zeros(width + 1, bool)
        while owner[column]:
            used[column] = True
            here = owner[column]
            reduced = cost[here - 1] - of_row[here] - of_column[1:]
            better = ~used[1:] & (reduced < least[1:])
            least[1:][better] = reduced[better]
            came[1:][better] = column
            following = int(np.where(used, np.inf, least)[1:].argmin()) + 1
            step = least[following]
            of_row[owner[used]] += step
            of_column[used] -= step
            least[~used] -= step
            column = following
        while column:
            owner[column] = owner[came[column]]
            column = int(came[column])
    return [(int(owner[column]) - 1, column - 1) for column in range(1, width + 1) if owner[column]]
