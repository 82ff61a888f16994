"""A detector run over a clip: decoding, network, tracking, drawing and encoding, each in a thread of its own.

Memory does not grow with the length: a few frames are on the way at a time, and what is kept of each is small. The
compressed file, in and out, is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import Detections
from registry.contract.parts import InferencePart
from registry.core.errors import BadInput
from registry.core.media import ByteArray, Clip, FloatArray, OnProgress, Parameters, Picture, Prediction, Prepared
from registry.video import webm
from registry.video.annotate import annotate, sheet, tile
from registry.video.clip_summary import ClipResult, ClipSummary
from registry.video.pipeline import ahead
from registry.video.tracking import ByteTracker
from registry.video.video import Frame, Reader, Sound

BATCH = 4
"""Frames that go through the network at once: small networks gain a third by it."""
DEPTH = 2
"""Frames that wait between two steps."""
SAMPLED = 32
"""Frames whose image statistics are taken, evenly spread."""
SHEET_TILES = 6
EMBEDDING = "embedding"

Network = Callable[[FloatArray], dict[str, FloatArray]]


@dataclass
class _Work:
    """One frame on its way."""

    frame: Frame
    prepared: Prepared
    statistics: dict[str, float] | None
    outputs: dict[str, FloatArray] = field(default_factory=dict)
    shown: Detections | None = None
    ids: NDArray[np.int64] | None = None
    drawn: ByteArray | None = None


class _Times:
    """Seconds by step. Each step runs in one thread, so nothing is added to from two."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began


def follow(
    clip: Clip,
    inference: InferencePart,
    network: Network,
    constants: Parameters,
    thresholds: Parameters,
    annotated: bool,
    on_progress: OnProgress | None,
) -> Prediction:
    """`registry.contract.parts.InferencePart.follow` for a detector, by what its `inference` does with a picture.

    `annotated`: the result holds the video with what was found drawn in.
    """
    run = _Run(clip, inference, network, constants, thresholds, annotated)
    run.go(on_progress)
    return run.finish()


_T = TypeVar("_T")
_Items = Generator[_T | Sound, None, None]
"""What passes from step to step: frames in order, and packets of the sound track between them."""


class _Run:
    def __init__(
        self,
        clip: Clip,
        inference: InferencePart,
        network: Network,
        constants: Parameters,
        thresholds: Parameters,
        annotated: bool,
    ) -> None:
        self.clip, self._inference, self.times = clip, inference, _Times()
        self._network, self._constants, self._thresholds = network, constants, thresholds
        self._reader = Reader(clip)
        self._writer: webm.WebmWriter | None = None
        if annotated:
            sound = self._reader.sound
            self._writer = webm.WebmWriter(clip.width, clip.height, clip.fps, clip.seconds, self._reader.aspect, sound)
        self._sampled = range(0, max(clip.frames, 1), max(1, clip.frames // SAMPLED))
        self._on_sheet = {int((n + 0.5) * clip.frames / SHEET_TILES) for n in range(SHEET_TILES)}
        self._tiles: list[ByteArray] = []
        self._statistics: list[dict[str, float]] = []
        self._embedding: NDArray[np.float64] | None = None
        self._summary: ClipSummary | None = None
        self._tracker: ByteTracker | None = None
        self._video: bytes | None = None

    def go(self, on_progress: OnProgress | None) -> None:
        done, total = 0, self.clip.frames
        ready = ahead(self._made_ready(ahead(self._read(), DEPTH, "decode")), BATCH, "prepare")
        ran = ahead(self._ran(ready), DEPTH, "network")
        judged = ahead(self._each(ran, "postprocess", self._judge), DEPTH, "track")
        try:
            with closing(ahead(self._each(judged, "draw", self._draw), DEPTH, "draw")) as items:
                for item in items:
                    if isinstance(item, Sound):
                        self._hear(item)
                        continue
                    self._write(item)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, max(total, done))
            if self._writer is not None:
                with self.times.of("encode"):
                    self._video = self._writer.close()
        finally:
            self._reader.close()
            if self._writer is not None and self._video is None:
                self._writer.abandon()

    # Each of the following is one step: a generator that runs in its own thread, and closes the one before it.

    def _read(self) -> _Items[Frame]:
        playing = self._reader.play(sound=self._writer is not None)
        while True:
            with self.times.of("decode"):
                item = next(playing, None)
            if item is None:
                return
            yield item

    def _made_ready(self, source: _Items[Frame]) -> _Items[_Work]:
        with closing(source):
            for item in source:
                if isinstance(item, Sound):
                    yield item
                    continue
                sample = Picture(item.pixels, self.clip.format)
                with self.times.of("preprocess"):
                    prepared = self._inference.preprocess(sample, self._constants)
                    numbers = self._inference.image_statistics(sample) if item.number in self._sampled else None
                yield _Work(item, prepared, numbers)

    def _ran(self, source: _Items[_Work]) -> _Items[_Work]:
        waiting: list[_Work | Sound] = []
        with closing(source):
            for item in source:
                waiting.append(item)
                if sum(isinstance(one, _Work) for one in waiting) == BATCH:
                    yield from self._through(waiting)
                    waiting = []
            yield from self._through(waiting)

    def _through(self, waiting: list[_Work | Sound]) -> list[_Work | Sound]:
        works = [item for item in waiting if isinstance(item, _Work)]
        if works:
            with self.times.of("network"):
                outputs = self._network(np.concatenate([work.prepared.batch for work in works]))
            at = 0
            for work in works:
                end = at + len(work.prepared.batch)
                work.outputs = {name: value[at:end] for name, value in outputs.items()}
                at = end
        return waiting

    def _each(self, source: _Items[_Work], step: str, do: Callable[[_Work], None]) -> _Items[_Work]:
        with closing(source):
            for item in source:
                if isinstance(item, _Work):
                    with self.times.of(step):
                        do(item)
                yield item

    def _judge(self, work: _Work) -> None:
        found = self._inference.postprocess(work.outputs, work.prepared, self._thresholds)
        assert isinstance(found, Detections)
        if self._summary is None or self._tracker is None:
            self._summary, self._tracker = ClipSummary(found.names), ByteTracker(self.clip.fps, found.threshold)
        ids = self._tracker.update(found.boxes, found.scores, found.classes)
        # A box below the threshold that continues a track is shown: that is what tracking is good for.
        kept = np.flatnonzero((found.scores >= found.threshold) | (ids > 0))
        shown = _as_found(found.take(kept))
        self._summary.add(work.frame.number, work.frame.at, shown, ids[kept], found)
        pooled = np.asarray(work.outputs[EMBEDDING], np.float64).reshape(len(work.prepared.batch), -1).mean(axis=0)
        self._embedding = pooled if self._embedding is None else self._embedding + pooled
        if work.statistics is not None:
            self._statistics.append(work.statistics)
        work.shown, work.ids = shown, ids[kept]
        work.outputs = {}  # large, and done with

    def _draw(self, work: _Work) -> None:
        assert work.shown is not None
        assert work.ids is not None
        if self._writer is not None:
            work.drawn = annotate(work.frame.pixels, work.shown, work.ids)
        if work.frame.number in self._on_sheet:
            self._tiles.append(tile(work.frame, work.shown, work.ids))

    def _write(self, work: _Work) -> None:
        if self._writer is not None and work.drawn is not None:
            with self.times.of("encode"):
                self._writer.add(work.drawn, work.frame.at, work.frame.lasts)

    def _hear(self, item: Sound) -> None:
        if self._writer is not None:
            with self.times.of("encode"):
                self._writer.sound(item.packet, self._reader.start)

    def finish(self) -> Prediction:
        """Raises BadInput where not one frame could be decoded."""
        if self._summary is None or self._embedding is None:
            raise BadInput(
                f"none of the {self.clip.frames} frames can be decoded",
                expected="a whole video",
                fix="send the whole file, or convert it first",
            )
        notes = [*self.clip.notes, *self._reader.notes, *(self._writer.notes if self._writer else ())]
        if self._summary.frames < self.clip.frames:
            notes.append(f"{self._summary.frames} of {self.clip.frames} frames could be decoded")
        result = ClipResult(self.clip, self._summary, sheet(self._tiles), self._video, tuple(notes))
        names = self._statistics[0]
        return Prediction(
            sample=self.clip,
            result=result,
            image_statistics={name: float(np.mean([one[name] for one in self._statistics])) for name in names},
            prediction_statistics=result.statistics(),
            embedding=(self._embedding / self._summary.frames).astype(np.float32),
            seconds=self.times.seconds,
        )


def _as_found(found: Detections) -> Detections:
    """All of them count as found, whatever their score."""
    lowest = float(found.scores.min()) if len(found) else found.threshold
    return replace(found, threshold=min(found.threshold, lowest))
