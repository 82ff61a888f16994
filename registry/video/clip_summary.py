"""What a detector found in a clip: gathered frame by frame, bounded however long it is, told as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import Detections
from registry.core.media import ByteArray, Clip

LISTED_BOXES = 20_000
LISTED_FRAMES = 20_000
LISTED_TRACKS = 2_000
"""Of an answer: ten minutes at 30 frames a second are some 2 MB of JSON, whatever is in them."""


@dataclass
class Track:
    """One object through the clip. Times in seconds; `votes` are summed scores by class number."""

    id: int
    first: int
    first_s: float
    last: int = 0
    last_s: float = 0.0
    frames: int = 0
    votes: Counter[int] = field(default_factory=Counter)

    @property
    def number(self) -> int:
        """Its class, by summed scores."""
        return self.votes.most_common(1)[0][0]

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {
            "id": self.id,
            "class": names[self.number],
            "class_id": self.number,
            "first_frame": self.first,
            "last_frame": self.last,
            "first_s": round(self.first_s, 3),
            "last_s": round(self.last_s, 3),
            "frames": self.frames,
            "mean_score": round(sum(self.votes.values()) / self.frames, 4),
        }


@dataclass(frozen=True)
class _Listed:
    """The boxes of one frame."""

    number: int
    at: float
    found: Detections
    ids: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        boxes = self.found.to_json()["detections"]
        for box, track in zip(boxes, self.ids.tolist(), strict=True):
            box["track"] = track or None
        return {"frame": self.number, "time_s": round(self.at, 3), "boxes": boxes}


class ClipSummary:
    """Gathers. Boxes are listed for every frame, until they are too many: then for every second one, fourth, ..."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.frames = 0
        self.every = 1
        self.tracks: dict[int, Track] = {}
        self.seconds: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self.frames_in: Counter[int] = Counter()
        self._listed: list[_Listed] = []
        self._boxes = 0
        self._sums: Counter[str] = Counter()

    def add(self, number: int, at: float, found: Detections, ids: NDArray[np.int64], all_found: Detections) -> None:
        """One frame: `found` is what is shown, `ids` [N] their tracks (0: none), `all_found` every box held."""
        self.frames += 1
        for name, value in all_found.statistics().items():
            self._sums[name] += value  # type: ignore[assignment]
        self.frames_in[int(at)] += 1
        for kind, score, id_ in zip(found.classes.tolist(), found.scores.tolist(), ids.tolist(), strict=True):
            self.seconds[int(at)][kind] += 1
            if id_:
                track = self.tracks.setdefault(id_, Track(id_, number, at))
                track.last, track.last_s = number, at
                track.frames += 1
                track.votes[kind] += score
        if number % self.every == 0:
            self._listed.append(_Listed(number, at, found, ids))
            self._boxes += len(found)
        while self._boxes > LISTED_BOXES or len(self._listed) > LISTED_FRAMES:
            self.every *= 2
            self._listed = [one for one in self._listed if one.number % self.every == 0]
            self._boxes = sum(len(one.found) for one in self._listed)
            if self.every > self.frames:
                break

    def statistics(self) -> dict[str, float]:
        """Means over frames of a picture's statistics: the same names, the same meaning."""
        return {name: total / max(self.frames, 1) for name, total in self._sums.items()}

    def listed(self) -> list[dict[str, Any]]:
        return [one.to_json() for one in self._listed]

    def per_second(self) -> list[dict[str, Any]]:
        """For each second of the clip, how many of each class were in view, on average over its frames."""
        return [
            {
                "second": second,
                **{self.names[k]: round(n / frames, 2) for k, n in sorted(self.seconds[second].items())},
            }
            for second, frames in sorted(self.frames_in.items())
        ]


@dataclass(frozen=True, eq=False)
class ClipResult:
    """What a detector says of a clip.

    Attributes:
        clip: what it was found in.
        sheet: uint8 [H, W, 3], BGR: some frames with their boxes, for people.
        video: the annotated WebM, where it was asked for.
        notes: what was wrong with the file, or had to be done, for the answer.
    """

    clip: Clip
    summary: ClipSummary
    sheet: ByteArray
    video: bytes | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Tracks, counts over time, and boxes per frame in pixels of the upright frame, x1 y1 x2 y2.

        `detections` has every `detections_every`-th frame and at most `LISTED_BOXES` boxes, `tracks` the
        `LISTED_TRACKS` longest.
        """
        summary, clip = self.summary, self.clip
        tracks = list(summary.tracks.values())
        longest = sorted(tracks, key=lambda t: (-t.frames, t.id))[:LISTED_TRACKS]
        objects = Counter(summary.names[track.number] for track in tracks)
        answer: dict[str, Any] = {
            "frames": summary.frames,
            "fps": round(clip.fps, 4),
            "seconds": round(clip.seconds, 3),
            "width": clip.width,
            "height": clip.height,
            "audio": clip.audio,
            "tracks": [track.to_json(summary.names) for track in sorted(longest, key=lambda t: t.id)],
            "tracks_total": len(tracks),
            "counts": {"objects": dict(objects), "per_second": summary.per_second()},
            "detections_every": summary.every,
            "detections": summary.listed(),
        }
        return answer | ({"notes": list(self.notes)} if self.notes else {})

    def statistics(self) -> dict[str, float]:
        return self.summary.statistics()
