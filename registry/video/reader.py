"""Reads a video with FFmpeg (PyAV): opens it from memory, finds its tracks, decodes its frames.

Only the demuxer that fits the first bytes is used. Others, such as playlists, open files and addresses that the video
names.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.core.media import ByteArray
from registry.core.runtime import default_threads
from registry.vision.media_types import Container

EXPECTED = "a video: MP4, WebM, Matroska, QuickTime, AVI, MPEG, Ogg, FLV, WMV or Motion JPEG"
MAX_FRAME_PIXELS = 4096 * 4096
"""Of one frame, whatever is allowed for pictures: some ten frames are in memory at a time."""
_BUFFER = 1 << 18


@contextmanager
def open_video(body: bytes, kind: Container, max_pixels: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens the container and its video track. Frames over `max_pixels` are never allocated.

    Raises:
        UnsupportedMedia, TooLarge, BadInput: as `open_clip`.
    """
    try:
        container = av.open(
            io.BytesIO(body), "r", format=kind.demuxer, options={"max_pixels": str(max_pixels)}, buffer_size=_BUFFER
        )
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise BadInput(
            f"the {kind.title} file cannot be opened: it has no frames, or its index is missing or damaged",
            expected="a whole video",
            fix="send the whole file; an interrupted recording has no index and must be repaired first",
        ) from error
    with container:
        stream = video_track(container, kind, max_pixels)
        context = stream.codec_context
        # Frames may change their size in mid-file, to any size that the file names.
        context.options = {**context.options, "max_pixels": str(max_pixels)}
        context.thread_type = "AUTO"
        context.thread_count = default_threads()
        yield container, stream


def video_track(container: InputContainer, kind: Container, max_pixels: int) -> VideoStream:
    """The largest track of moving pictures that can be decoded. Raises as `open_video`."""
    tracks = [s for s in container.streams.video if not _is_cover(s)]
    if not tracks:
        kinds = sorted({str(s.type) for s in container.streams}) or ["nothing"]
        raise BadInput(
            f"the {kind.title} file has no video track: it holds only {', '.join(kinds)}",
            expected=EXPECTED,
            fix="choose another file",
        )
    readable = [s for s in tracks if s.codec_context is not None]
    if not readable:
        raise UnsupportedMedia(
            f"the codec of the {kind.title} file's video track cannot be decoded here",
            expected="H.264, H.265, VP8, VP9, AV1, MPEG-4 or another codec that FFmpeg knows",
            fix="convert it, e.g. `ffmpeg -i IN -c:v libx264 OUT.mp4`",
        )
    best = max(readable, key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index))
    context = best.codec_context
    if not context.width * context.height:
        raise TooLarge(
            f"the frames of the {kind.title} file have no size, or more than {max_pixels / 1e6:.3g} megapixels",
            expected=f"at most {max_pixels / 1e6:.3g} megapixels a frame",
            fix="scale it down first, e.g. to 1920 x 1080",
        )
    return best


def _is_cover(stream: VideoStream) -> bool:
    """A cover picture in a sound file is a video stream to FFmpeg."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def sound_track(container: InputContainer) -> AudioStream | None:
    """The first sound track that can be decoded."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def packets(container: InputContainer, *tracks: VideoStream | AudioStream) -> Iterator[Packet]:
    """All packets of the tracks. Raises FFmpegError where the file is cut off.

    A track that begins in mid-file is left out: PyAV does not know it and raises IndexError at each of its packets.
    """
    while True:
        try:
            yield from container.demux(*tracks)
        except IndexError:
            continue  # the next call goes on after that packet
        return


def decode(
    container: InputContainer, tracks: tuple[VideoStream | AudioStream, ...], stream: VideoStream
) -> Iterator[VideoFrame | Packet]:
    """Frames of `stream` in presentation order, with the packets of the other track between them.

    What cannot be decoded is left out. A file that is cut off ends there.
    """
    coming = packets(container, *tracks)
    while True:
        try:
            packet = next(coming)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.stream_index != stream.index:
            if packet.size:
                yield packet
            continue
        try:
            yield from stream.decode(packet)
        except av.error.FFmpegError:
            continue


_TURNS: Mapping[int, int] = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def upright(frame: VideoFrame, mirrored: bool, degrees: int) -> ByteArray:
    """uint8 [H, W, 3] BGR, contiguous; `mirrored` and `degrees` as `display_turn` returns them.

    Grey, 10-bit and other pixel formats are converted by the colour matrix that the frame names.
    """
    pixels: Any = frame.to_ndarray(format="bgr24")
    if mirrored:
        pixels = cv2.flip(pixels, 1)
    turn = _TURNS.get(degrees)
    return np.ascontiguousarray(pixels if turn is None else cv2.rotate(pixels, turn), dtype=np.uint8)


def display_turn(frame: VideoFrame) -> tuple[bool, int]:
    """How a player turns a stored frame: whether it mirrors it left to right, then degrees clockwise (0, 90, 180, 270).

    Call it for one frame only: PyAV's side data and the frame refer to each other, so both stay until garbage is
    collected.
    """
    side: Any = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return False, 0
    # The matrix has the rows (a b u), (c d v), (x y w). Pixel (p, q), q down, goes to (a p + c q + x, b p + d q + y).
    a, b, _, c, d = (int(n) for n in np.frombuffer(memoryview(side), dtype=np.int32)[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, round(math.degrees(math.atan2(b - c, a + d)) / 90) * 90 % 360
