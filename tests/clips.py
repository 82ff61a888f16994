"""Video files made with PyAV, for tests: every frame is grey with a red square that wanders and a white corner."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from registry.core.media import ByteArray


def scene(number: int, width: int, height: int) -> ByteArray:
    """uint8 [H, W, 3] BGR. The white corner is at the top left: rotations show."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    edge = max(4, min(width, height) // 4)
    left = (number * 3) % max(1, width - edge)
    pixels[height // 2 : height // 2 + edge, left : left + edge] = (30, 30, 220)
    pixels[: height // 4, : width // 4] = 255
    return pixels


def make_clip(
    frames: int = 12,
    size: tuple[int, int] = (96, 64),
    fps: int = 10,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rotation: int = 0,
    sound: str = "",
    times: Sequence[float] | None = None,
    options: Mapping[str, str] | None = None,
    encoder: Mapping[str, str] | None = None,
    scenes: Sequence[ByteArray] | None = None,
    aspect: Fraction | None = None,
    path: Path | None = None,
) -> bytes:
    """A video.

    Args:
        rotation: degrees clockwise that a player turns it by.
        sound: codec of a 440 Hz tone as long as the pictures; empty: none.
        times: seconds of each frame, for a variable rate.
        scenes: what to show instead of `scene`.
        aspect: width of a pixel over its height.
        path: where to make it, for what FFmpeg cannot do in memory.
    """
    file = io.BytesIO()
    with av.open(str(path) if path else file, "w", format=container, options=dict(options or {})) as out:
        video = out.add_stream(codec, rate=fps, options=dict(encoder or {}))
        video.width, video.height, video.pix_fmt = *size, pixel_format
        video.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
        if rotation:
            video.set_display_rotation(-rotation)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        tone = out.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number in range(frames):
            pixels = scenes[number] if scenes else scene(number, *size)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts = round(1000 * times[number]) if times else number
            frame.time_base = video.codec_context.time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if tone is not None:
            _play(out, tone, frames / fps)
    return path.read_bytes() if path else file.getvalue()


def _play(out: av.container.OutputContainer, tone: av.AudioStream, seconds: float) -> None:
    resampler = av.AudioResampler(
        format=tone.codec_context.codec.audio_formats[0], layout="mono", rate=48_000, frame_size=960
    )
    at = np.arange(round(48_000 * seconds))
    wave = np.round(8000 * np.sin(2 * np.pi * 440 * at / 48_000)).astype(np.int16)[None]
    whole = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    whole.sample_rate, whole.pts, whole.time_base = 48_000, 0, Fraction(1, 48_000)
    for piece in [*resampler.resample(whole), *resampler.resample(None)]:
        out.mux(tone.encode(piece))
    out.mux(tone.encode(None))
