"""Counts the frames of a video, and reads when they are shown, from its packets alone: nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.container.input import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from registry.video.reader import packets
from registry.vision.media_types import Container


@dataclass(frozen=True)
class FrameCount:
    """What the packets say. Times are in seconds, and None where the file has none.

    Attributes:
        frames: that a player shows: without those that an edit list cuts off or that only serve as references.
        packets: all of them.
        first, end: when the shown frames begin and end, by presentation times or else by decoding times.
        start: presentation time of the first shown frame; None where some frame has none.
        damaged: shown frames that the demuxer marks as corrupt.
        encrypted: whether the first shown frame is.
    """

    frames: int
    packets: int
    first: float | None
    end: float | None
    start: float | None
    damaged: int
    encrypted: bool


def count_frames(container: InputContainer, stream: VideoStream) -> FrameCount:
    """Reads all packets and decodes none. A file that is cut off ends there."""
    frames, stored, damaged, encrypted, timed = 0, 0, 0, False, True
    first: float | None = None
    end: float | None = None
    base, codec = float(stream.time_base or 0), stream.codec_context.name
    try:
        for packet in packets(container, stream):
            stored += packet.size > 0 or packet.pts is not None
            if not packet.size or packet.is_discard or _hidden(codec, packet):
                continue
            if not frames:
                encrypted = any(packet.has_sidedata(kind) for kind in ("encryption_info", "encryption_init_info"))
            frames += 1
            damaged += packet.is_corrupt
            timed &= packet.pts is not None
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None:
                first = at * base if first is None else min(first, at * base)
                end = max(end or 0.0, (at + (packet.duration or 0)) * base)
    except av.error.FFmpegError:
        pass  # what came before the damage is there
    return FrameCount(frames, stored, first, end, first if timed else None, damaged, encrypted)


def declared_frames(stream: VideoStream, kind: Container, body: bytes) -> int:
    """How many frames the file declares; 0 where it declares nothing."""
    if kind.demuxer == "mov" and stream.frames:
        # `stream.frames` counts everything stored. FFmpeg's index lacks what an edit list cuts off.
        return len(stream.index_entries)
    if kind.demuxer == "avi" and _riff_end(body) <= len(body):
        return 0  # the file is whole; it declares dropped frames as well, which are empty chunks
    return stream.frames


def _riff_end(body: bytes) -> int:
    """Where the last of the file's RIFF chunks ends."""
    at = 0
    while body[at : at + 4] == b"RIFF":
        at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
    return at


def declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    """The duration that the file declares; 0 where it declares nothing."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def _hidden(codec: str, packet: Packet) -> bool:
    """Whether a packet of VP8 or VP9 holds only frames that are never shown (alternate references).

    Reads the `show_frame` bits of RFC 6386, 9.1, and of the VP9 bitstream specification, 6.2, with superframes (annex
    B). PyAV offers neither.
    """
    if codec not in ("vp8", "vp9") or not packet.size:
        return False
    data = bytes(memoryview(packet))
    if codec == "vp8":
        return not data[0] & 0x10
    return not any(_vp9_shows(data[at]) for at in _vp9_frames(data))


def _vp9_frames(data: bytes) -> Iterator[int]:
    """Where each frame of a packet begins."""
    yield 0
    mark = data[-1]
    if mark & 0xE0 != 0xC0:
        return
    count_frames, width = 1 + (mark & 7), 1 + (mark >> 3 & 3)
    index = data[-2 - count_frames * width :]
    if index[0] != mark:
        return
    at = 0
    for n in range(count_frames - 1):
        at += int.from_bytes(index[1 + n * width : 1 + (n + 1) * width], "little")
        if at < len(data):
            yield at


def _vp9_shows(first: int) -> bool:
    """From a frame's first byte: marker (2 bits), profile (2, and one more of profile 3), show_existing_frame,
    frame_type, show_frame."""
    shift = 1 if first & 0x30 == 0x30 else 0
    return bool(first << shift & 0x08) or bool(first << shift & 0x02)
