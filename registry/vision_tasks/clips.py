"""A detector run over a clip: decoding, network, tracking, drawing and encoding, each in a thread of its own.

Memory does not grow with the length: a few frames are on the way at a time, and what is kept of each is small. The
compressed file, in and out, is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BadInput, NotAcceptable
from registry.core.media import ByteArray, Clip, FloatArray, OnProgress, Parameters, Picture, Prediction, Prepared
from registry.vision import foreign_files, headers, statistics
from registry.vision.media_types import VIDEO_OUT, is_video
from registry.vision.picture import decode as decode_picture
from registry.vision.picture import to_jpeg
from registry.vision.video import reader, video, webm
from registry.vision.video.pipeline import ahead
from registry.vision.video.video import Frame, Reader, Sound
from registry.vision_tasks import detection
from registry.vision_tasks.annotate import annotate, sheet, tile
from registry.vision_tasks.clip_summary import ClipResult, ClipSummary
from registry.vision_tasks.detection import Detections
from registry.vision_tasks.mean_ap import TrueBoxes
from registry.vision_tasks.tracking import ByteTracker

BATCH = 4
"""Frames that go through the network at once: small networks gain a third by it."""
DEPTH = 2
"""Frames that wait between two steps."""
SAMPLED = 32
"""Frames whose image statistics are taken, evenly spread."""
SHEET_TILES = 6
EMBEDDING = "embedding"

Network = Callable[[FloatArray], dict[str, FloatArray]]
Follow = Callable[..., Prediction]


@dataclass(frozen=True)
class _Steps:
    """What a model does with one frame, given as a `Picture`: its picture steps as they are."""

    preprocess: Callable[[Picture, Parameters], Prepared]
    postprocess: Callable[[Mapping[str, np.ndarray], Prepared, Parameters], Detections]
    image_statistics: Callable[[Picture], dict[str, float]]


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


def follower(
    preprocess: Callable[[Picture, Parameters], Prepared],
    postprocess: Callable[[Mapping[str, np.ndarray], Prepared, Parameters], Detections],
    image_statistics: Callable[[Picture], dict[str, float]],
) -> Follow:
    """`registry.contract.parts.InferencePart.follow` for a detector, from what it does with a picture."""
    steps = _Steps(preprocess, postprocess, image_statistics)

    def follow(
        clip: Clip,
        network: Network,
        constants: Parameters,
        thresholds: Parameters,
        media: str = "application/json",
        on_progress: OnProgress | None = None,
    ) -> Prediction:
        run = _Run(clip, steps, network, constants, thresholds, annotated=media == VIDEO_OUT)
        run.go(on_progress)
        return run.finish()

    return follow


_T = TypeVar("_T")
_Items = Generator[_T | Sound, None, None]
"""What passes from step to step: frames in order, and packets of the sound track between them."""


class _Run:
    def __init__(
        self,
        clip: Clip,
        steps: _Steps,
        network: Network,
        constants: Parameters,
        thresholds: Parameters,
        annotated: bool,
    ) -> None:
        self.clip, self.steps, self.times = clip, steps, _Times()
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
        self._book: ClipSummary | None = None
        self._tracker: ByteTracker | None = None
        self._video: bytes | None = None

    def go(self, on_progress: OnProgress | None) -> None:
        done, total = 0, self.clip.frames
        ready = ahead(self._made_ready(ahead(self._read(), DEPTH, "decode")), BATCH, "prepare")
        judged = ahead(self._judged(ahead(self._ran(ready), DEPTH, "network")), DEPTH, "track")
        try:
            with closing(ahead(self._drawn(judged), DEPTH, "draw")) as items:
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
                    prepared = self.steps.preprocess(sample, self._constants)
                    numbers = self.steps.image_statistics(sample) if item.number in self._sampled else None
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

    def _judged(self, source: _Items[_Work]) -> _Items[_Work]:
        with closing(source):
            for item in source:
                if isinstance(item, _Work):
                    with self.times.of("postprocess"):
                        self._judge(item)
                yield item

    def _judge(self, work: _Work) -> None:
        found = self.steps.postprocess(work.outputs, work.prepared, self._thresholds)
        if self._book is None or self._tracker is None:
            self._book, self._tracker = ClipSummary(found.names), ByteTracker(self.clip.fps, found.threshold)
        ids = self._tracker.update(found.boxes, found.scores, found.classes)
        # A box below the threshold that continues a track is shown: that is what tracking is good for.
        kept = np.flatnonzero((found.scores >= found.threshold) | (ids > 0))
        shown = _as_found(found.take(kept))
        self._book.add(work.frame.number, work.frame.at, shown, ids[kept], found)
        pooled = np.asarray(work.outputs[EMBEDDING], np.float64).reshape(len(work.prepared.batch), -1).mean(axis=0)
        self._embedding = pooled if self._embedding is None else self._embedding + pooled
        if work.statistics is not None:
            self._statistics.append(work.statistics)
        work.shown, work.ids = shown, ids[kept]
        work.outputs = {}  # large, and done with

    def _drawn(self, source: _Items[_Work]) -> _Items[_Work]:
        with closing(source):
            for item in source:
                if isinstance(item, _Work):
                    with self.times.of("draw"):
                        self._draw(item)
                yield item

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
        if self._book is None or self._embedding is None:
            raise BadInput(
                f"none of the {self.clip.frames} frames can be decoded",
                expected="a whole video",
                fix="send the whole file, or convert it first",
            )
        notes = [*self.clip.notes, *self._reader.notes, *(self._writer.notes if self._writer else ())]
        if self._book.frames < self.clip.frames:
            notes.append(f"{self._book.frames} of {self.clip.frames} frames could be decoded")
        result = ClipResult(self.clip, self._book, sheet(self._tiles), self._video, tuple(notes))
        names = self._statistics[0]
        return Prediction(
            sample=self.clip,
            result=result,
            image_statistics={name: float(np.mean([one[name] for one in self._statistics])) for name in names},
            prediction_statistics=result.statistics(),
            embedding=(self._embedding / self._book.frames).astype(np.float32),
            seconds=self.times.seconds,
        )


def _as_found(found: Detections) -> Detections:
    """All of them count as found, whatever their score."""
    lowest = float(found.scores.min()) if len(found) else found.threshold
    return replace(found, threshold=min(found.threshold, lowest))


# What a model of pictures and clips has in its modules, as they are.


def decode(body: bytes, limit: int) -> Picture | Clip:
    """A picture or a clip, whichever the file is. Raises as `picture.decode` and `video.open_clip`."""
    if is_video(body):
        return video.open_clip(body, limit)
    if not headers.begins_like_a_picture(body):
        raise foreign_files.wrong_kind(body, "a picture or a video", f"{foreign_files.EXPECTED}, or {reader.EXPECTED}")
    return decode_picture(body, limit)


def glimpse(sample: Picture | Clip) -> Picture:
    """The picture, or the first frame of the clip: what stands for it where one picture is wanted."""
    if isinstance(sample, Picture):
        return sample
    return Picture(next(iter(video.frames(sample))).pixels, sample.format)


def image_statistics(sample: Picture | Clip) -> dict[str, float]:
    """As `registry.vision.statistics`; of a clip its first frame's."""
    return statistics.image_statistics(glimpse(sample))


def picture(
    sample: Picture | Clip, result: Detections | ClipResult | None = None, truth: TrueBoxes | None = None
) -> bytes:
    """`registry.contract.parts.RenderPart.picture`: found objects in their class's colour, true ones dashed and green;
    of a clip some of its frames."""
    if isinstance(result, ClipResult):
        return to_jpeg(result.sheet)
    seen = glimpse(sample)
    true = truth.pixels(seen.width, seen.height) if truth is not None else None
    return to_jpeg(detection.drawn(seen.pixels, result, true))


def to_webm(sample: Picture | Clip, result: Any) -> bytes:
    """The encoder of video/webm.

    Raises:
        NotAcceptable: the input was a picture.
    """
    if not isinstance(result, ClipResult) or result.video is None:
        raise NotAcceptable(
            "a video was asked for, but the input is a picture",
            expected="a video file as input, or application/json or image/jpeg as output",
            fix="ask for image/jpeg",
        )
    return result.video


FORMATS: Mapping[str, Callable[[Any, Any], bytes]] = {"image/jpeg": picture, VIDEO_OUT: to_webm}
