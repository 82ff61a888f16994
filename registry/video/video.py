"""Opens videos: checks that they can be played, and gives their frames as a player shows them."""

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
from registry.video.frame_count import FrameCount, count_frames, declared_frames, declared_seconds
from registry.video.reader import (
    EXPECTED,
    MAX_FRAME_PIXELS,
    decode,
    display_turn,
    open_video,
    sound_track,
    upright,
)
from registry.vision.media_types import Container
from registry.vision.media_types import container as container_of
from registry.vision.picture import MIN_SIDE

MAX_GROWTH = 4
"""How many times the first frame's pixels a later frame may have."""
MAX_FPS = 240
MIN_STEP_S = 0.001
"""Least time between two frames: WebM counts in milliseconds."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One upright frame.

    Attributes:
        number: from 0.
        at: when it appears, in seconds from the start of the clip.
        lasts: for how long, in seconds.
        pixels: uint8 [H, W, 3], BGR.
    """

    number: int
    at: float
    lasts: float
    pixels: ByteArray


@dataclass(frozen=True, eq=False)
class Sound:
    """A packet of the sound track, as stored."""

    packet: Packet


def open_clip(body: bytes, max_pixels: int = MAX_FRAME_PIXELS, max_seconds: float | None = None) -> Clip:
    """Opens a video and checks it. Only its first frame is decoded.

    Frames and duration come from the packets, whatever the format. Of a file that is cut off the frames that are there
    are taken, and `notes` say so.

    Args:
        body: the file.
        max_pixels: of a frame (never more than `MAX_FRAME_PIXELS`).
        max_seconds: the longest duration; None: the setting `max_video_s`.

    Raises:
        UnsupportedMedia: not a video, or one in a codec that cannot be decoded.
        TooLarge: frames of more than `max_pixels`, or too long.
        BadInput: no video track, no frames, encrypted, or damaged beyond use.
    """
    limit = settings().max_video_s if max_seconds is None else max_seconds
    max_pixels = min(max_pixels, MAX_FRAME_PIXELS)
    kind = _kind_of(body)
    with open_video(body, kind, max_pixels) as (container, stream):
        _check_frame_size(stream.codec_context.width, stream.codec_context.height, max_pixels, kind.title)
        count = count_frames(container, stream)
        frames, duration = declared_frames(stream, kind, body), declared_seconds(container, stream)
        rate = stream.average_rate or stream.guessed_rate
        audio = sound_track(container) is not None
    _check_frames(count, kind.title)
    fps, seconds = _pace(count, float(rate) if rate else 0.0)
    _check_length(count.frames, seconds, limit)
    first = _first_frame(body, kind, max_pixels, count.frames)
    mirrored, rotation = display_turn(first)
    height, width = upright(first, mirrored, rotation).shape[:2]
    _check_frame_size(width, height, max_pixels, kind.title)
    return Clip(
        body=body,
        width=width,
        height=height,
        rotation=rotation,
        frames=count.frames,
        fps=fps,
        seconds=seconds,
        audio=audio,
        format=kind.title,
        notes=_notes(count, frames, duration, seconds),
        mirrored=mirrored,
        start=count.start,
    )


def _kind_of(body: bytes) -> Container:
    kind = container_of(body)
    if kind is None:
        raise UnsupportedMedia(
            f"the file is not a video: it begins with {body[:8]!r}", expected=EXPECTED, fix="choose a video file"
        )
    return kind


def _check_frames(count: FrameCount, title: str) -> None:
    if not count.frames:
        raise BadInput(
            f"the {title} file holds no frames", expected=EXPECTED, fix="record it again, or send the whole file"
        )
    if count.encrypted:
        raise BadInput(
            f"the {title} file is encrypted", expected="a video without copy protection", fix="decrypt it first"
        )


def _notes(count: FrameCount, frames: int, duration: float, seconds: float) -> tuple[str, ...]:
    """`frames` and `duration` (seconds) are those that the file declares, `seconds` what its packets last."""
    if frames > count.packets:
        return (f"the file is cut off: {count.packets} of {frames} frames are there",)
    if duration > 0.25 and seconds < 0.9 * duration - 0.25:
        return (f"the pictures end after {seconds:.1f} of {duration:.1f} s: the file is cut off, or its sound goes on",)
    return (f"{count.damaged} of {count.frames} frames are incomplete",) if count.damaged else ()


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
            fix="cut it into pieces",
        )


def _pace(count: FrameCount, rate: float) -> tuple[float, float]:
    """Frames per second and duration in seconds, from the packets' times or else from the file's frame `rate`."""
    span = (count.end - count.first) if count.end is not None and count.first is not None else 0.0
    if span <= 0:
        rate = rate if 0 < rate <= MAX_FPS else 25.0
        return rate, count.frames / rate
    span = max(span, count.frames * MIN_STEP_S)
    return count.frames / span, span


def _first_frame(body: bytes, kind: Container, max_pixels: int, frames: int) -> VideoFrame:
    with open_video(body, kind, max_pixels) as (container, stream):
        found = next((item for item in decode(container, (stream,), stream) if isinstance(item, VideoFrame)), None)
    if found is None:
        raise BadInput(
            f"none of the {frames} frames of the {kind.title} file can be decoded",
            expected="a whole video",
            fix="send the whole file, or convert it first",
        )
    return found


class Reader:
    """Plays a clip once. Not for two threads at a time.

    Attributes:
        sound: the sound track, or None; `play(sound=True)` gives its packets.
        aspect: width of an upright pixel over its height; nearly always 1.0.
        notes: what had to be done to the frames; filled while it plays.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        most = min(MAX_FRAME_PIXELS, max(MAX_GROWTH * clip.width * clip.height, 1 << 20))
        self._context = open_video(clip.body, _kind_of(clip.body), most)
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
        """Frames in order, at strictly rising times from 0; with `sound`, packets of the sound track between them."""
        tracks: tuple[VideoStream | AudioStream, ...] = (self._stream,)
        if sound and self.sound is not None:
            tracks = (self._stream, self.sound)
        step = 1 / self._clip.fps
        number, last, waiting = 0, -step, list[Sound]()
        for item in decode(self._container, tracks, self._stream):
            if isinstance(item, Packet):
                if number:
                    yield Sound(item)
                else:
                    waiting.append(Sound(item))  # until the first frame says when the clip begins
                continue
            stamp = item.time
            if not number:
                # The clip's own start: frames keep their times where the first ones cannot be decoded.
                self._start = self._clip.start if self._clip.start is not None else stamp or 0.0
                yield from waiting
            at = last + step if stamp is None else stamp - self._start
            if number and at < last + MIN_STEP_S:
                at = last + MIN_STEP_S
            lasts = float(item.duration * item.time_base) if item.duration and item.time_base else step
            pixels = upright(item, self._clip.mirrored, self._clip.rotation)
            yield Frame(number, max(at, 0.0), lasts, self._fit(pixels))
            number, last = number + 1, max(at, 0.0)

    def _fit(self, pixels: ByteArray) -> ByteArray:
        """Scales a frame to the size of the first: streams may change their size in mid-file."""
        size = (self._clip.width, self._clip.height)
        if (pixels.shape[1], pixels.shape[0]) == size:
            return pixels
        note = "frames change their size: all are scaled to the size of the first"
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
