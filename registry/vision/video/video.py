"""Videos as files: what they are, whether they can be played, and their frames as a player would show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.core.media import ByteArray, Clip
from registry.core.settings import settings
from registry.vision.media_types import Container
from registry.vision.media_types import container as container_of
from registry.vision.video.frame_count import FrameCount, count, declared_frames, declared_seconds
from registry.vision.video.reader import EXPECTED, decoded, opened, shown, sound_track, upright

MIN_SIDE = 8
MAX_FRAME_PIXELS = 4096 * 4096
"""Of one frame, whatever is allowed for pictures: some ten frames are in memory at a time."""
GROWTH = 4
"""How many times the first frame's pixels a later one may have."""
MAX_FPS = 240
LEAST_STEP = 0.001
"""Seconds between two frames, at least: WebM counts in milliseconds."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, upright.

    Attributes:
        number: from 0.
        at, lasts: when it appears and for how long, seconds from the start of the clip.
        pixels: uint8 [H, W, 3], BGR.
    """

    number: int
    at: float
    lasts: float
    pixels: ByteArray


@dataclass(frozen=True, eq=False)
class Sound:
    """A packet of the sound track, as it was stored."""

    packet: Packet


def open_clip(body: bytes, max_pixels: int = MAX_FRAME_PIXELS, max_seconds: float | None = None) -> Clip:
    """Looks a video over without decoding more than its first frame.

    Packets are counted, so that frames, duration and what is missing are known for every format; a file that was cut
    off is taken as far as it goes, and `notes` say so.

    Args:
        body: the file.
        max_pixels: of a frame (never more than `MAX_FRAME_PIXELS`).
        max_seconds: how long it may be; None: the setting `max_video_s`.

    Raises:
        UnsupportedMedia: not a video, or one in a codec that cannot be decoded.
        TooLarge: frames of more than `max_pixels`, or too long.
        BadInput: no picture track, no frames, encrypted, or damaged beyond use.
    """
    limit = settings().max_video_s if max_seconds is None else max_seconds
    max_pixels = min(max_pixels, MAX_FRAME_PIXELS)
    kind = container_of(body)
    if kind is None:
        raise UnsupportedMedia(
            f"the file is not a video: it begins with {body[:8]!r}", expected=EXPECTED, fix="choose a video file"
        )
    with opened(body, kind, max_pixels) as (container, stream):
        _check_frame_size(stream.codec_context.width, stream.codec_context.height, max_pixels, kind.title)
        found = count(container, stream)
        declared, told = declared_frames(stream, kind, body), declared_seconds(container, stream)
        rate = stream.average_rate or stream.guessed_rate
        audio = sound_track(container) is not None
    if not found.frames:
        raise BadInput(
            f"the {kind.title} file holds no frames", expected=EXPECTED, fix="record it again, or send the whole file"
        )
    if found.encrypted:
        raise BadInput(
            f"the {kind.title} file is encrypted", expected="a video without copy protection", fix="decrypt it first"
        )
    fps, seconds = _pace(found, float(rate) if rate else 0.0)
    _check_length(found.frames, seconds, limit)
    first = _first_frame(body, kind, max_pixels, found.frames)
    mirrored, rotation = shown(first)
    height, width = upright(first, mirrored, rotation).shape[:2]
    _check_frame_size(width, height, max_pixels, kind.title)
    return Clip(
        body=body,
        width=width,
        height=height,
        rotation=rotation,
        frames=found.frames,
        fps=fps,
        seconds=seconds,
        audio=audio,
        format=kind.title,
        notes=_notes(found, declared, told, seconds),
        mirrored=mirrored,
        start=found.start,
    )


def _notes(found: FrameCount, declared: int, told: float, seconds: float) -> tuple[str, ...]:
    """`declared` frames and `told` seconds are what the file says of itself."""
    if declared > found.packets:
        return (f"the file is cut off: {found.packets} of {declared} frames are there",)
    if told > 0.25 and seconds < 0.9 * told - 0.25:
        return (f"the pictures end after {seconds:.1f} of {told:.1f} s: the file is cut off, or its sound goes on",)
    return (f"{found.damaged} of {found.frames} frames are incomplete",) if found.damaged else ()


def _check_frame_size(width: int, height: int, max_pixels: int, title: str) -> None:
    if width and height and min(width, height) < MIN_SIDE:
        raise BadInput(
            f"the {title} file has frames of {width} x {height} pixels",
            expected=f"at least {MIN_SIDE} x {MIN_SIDE}",
            fix="send the video itself",
        )
    if width * height > max_pixels:
        raise TooLarge(
            f"the {title} file has frames of {width} x {height} pixels",
            expected=f"at most {max_pixels / 1e6:.3g} megapixels a frame",
            fix="scale it down first, e.g. to 1920 x 1080",
        )


def _check_length(frames: int, seconds: float, limit: float) -> None:
    if seconds > limit or frames > limit * MAX_FPS:
        raise TooLarge(
            f"the video has {frames:,} frames and lasts {seconds:,.0f} s",
            expected=f"at most {limit:g} s",
            fix="cut it into pieces, or have max_video_s raised",
        )


def _pace(found: FrameCount, rate: float) -> tuple[float, float]:
    """Frames per second and duration, from the times in the file; from its frame rate where it has none."""
    span = (found.end - found.first) if found.end is not None and found.first is not None else 0.0
    if span <= 0:
        rate = rate if 0 < rate <= MAX_FPS else 25.0
        return rate, found.frames / rate
    span = max(span, found.frames * LEAST_STEP)
    return found.frames / span, span


def _first_frame(body: bytes, kind: Container, max_pixels: int, frames: int) -> VideoFrame:
    with opened(body, kind, max_pixels) as (container, stream):
        found = next((item for item in decoded(container, (stream,), stream) if isinstance(item, VideoFrame)), None)
    if found is None:
        raise BadInput(
            f"none of the {frames} frames of the {kind.title} file can be decoded",
            expected="a whole video",
            fix="send the whole file, or convert it first",
        )
    return found


class Reader:
    """A clip being played once, from its beginning. Not to be used by two threads at a time.

    Attributes:
        sound: the sound track, or None; `play(sound=True)` gives its packets.
        aspect: width of a pixel over its height, upright; 1.0 nearly always.
        notes: what had to be done, filled while it plays.
    """

    def __init__(self, clip: Clip) -> None:
        kind = container_of(clip.body)
        assert kind is not None
        self._clip = clip
        most = min(MAX_FRAME_PIXELS, max(GROWTH * clip.width * clip.height, 1 << 20))
        self._context = opened(clip.body, kind, most)
        self._container, self._stream = self._context.__enter__()
        self.sound = sound_track(self._container)
        self.notes: list[str] = []
        ratio = self._stream.sample_aspect_ratio
        aspect = float(ratio) if ratio else 1.0
        self.aspect = 1 / aspect if clip.rotation in (90, 270) else aspect

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    @property
    def start(self) -> float:
        """The time in the file, in seconds, that is 0 for `Frame.at`."""
        return self._start

    _start = 0.0

    def play(self, sound: bool = False) -> Iterator[Frame | Sound]:
        """Frames in order, times strictly rising from 0; with `sound`, packets of the sound track between them."""
        tracks: tuple[VideoStream | AudioStream, ...] = (self._stream,)
        if sound and self.sound is not None:
            tracks = (self._stream, self.sound)
        step = 1 / self._clip.fps
        number, last, waiting = 0, -step, list[Sound]()
        for item in decoded(self._container, tracks, self._stream):
            if isinstance(item, Packet):
                if number:
                    yield Sound(item)
                else:
                    waiting.append(Sound(item))  # until the first frame says when the clip begins
                continue
            stamp = item.time
            if not number:
                # Where the first frames cannot be decoded, the others keep their times.
                self._start = self._clip.start if self._clip.start is not None else stamp or 0.0
                yield from waiting
            at = last + step if stamp is None else stamp - self._start
            if number and at < last + LEAST_STEP:
                at = last + LEAST_STEP
            lasts = float(item.duration * item.time_base) if item.duration and item.time_base else step
            pixels = upright(item, self._clip.mirrored, self._clip.rotation)
            yield Frame(number, max(at, 0.0), lasts, self._fit(pixels))
            number, last = number + 1, max(at, 0.0)

    def _fit(self, pixels: ByteArray) -> ByteArray:
        """A frame of another size than the first (streams may change in the middle) is brought to the first's."""
        size = (self._clip.width, self._clip.height)
        if (pixels.shape[1], pixels.shape[0]) == size:
            return pixels
        note = "the size of the frames changes in the middle: all are brought to the first's"
        if note not in self.notes:
            self.notes.append(note)
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def frames(clip: Clip) -> Iterator[Frame]:
    """All frames of a clip, without sound."""
    reader = Reader(clip)
    try:
        yield from (item for item in reader.play() if isinstance(item, Frame))
    finally:
        reader.close()
