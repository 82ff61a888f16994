"""A clip as our writer writes it."""

from __future__ import annotations

from registry.core.media import Clip
from registry.video.video import Frame, Reader
from registry.video.webm import WebmWriter


def written(clip: Clip) -> bytes:
    """The clip as WebM, frames and sound, unchanged."""
    reader = Reader(clip)
    writer = WebmWriter(clip.width, clip.height, clip.fps, clip.seconds, reader.aspect, reader.sound)
    for item in reader.play(sound=True):
        if isinstance(item, Frame):
            writer.add(item.pixels, item.at, item.lasts)
        else:
            writer.sound(item.packet, reader.start)
    body = writer.close()
    reader.close()
    return body
