"""Writes WebM that browsers play: VP9 pictures, Opus or Vorbis sound.

libvpx runs in realtime mode: each frame in gives one packet out. Constrained quality (`crf` under a ceiling) takes half
the processor time of a fixed bit rate on the clip of docs/video.md, at 50 dB.
"""

from __future__ import annotations

import io
import math
from fractions import Fraction

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame

from registry.core.media import ByteArray
from registry.core.runtime import default_threads
from registry.video.reader import MAX_FRAME_PIXELS

QUALITY = 32  # libvpx crf, 0 to 63
BITS_PER_PIXEL = 0.12  # ceiling, per pixel and frame
KEYFRAME_S = 2.0  # a player seeks to a keyframe and decodes from there
TICKS = Fraction(1, 1000)  # what Matroska counts in
OPUS_HZ = 48_000
_COPIED = ("opus", "vorbis")  # what WebM takes as it is
_BT601 = 6  # AVCOL_SPC_SMPTE170M: the matrix of OpenCV's YUV
_LIMITED = 1  # AVCOL_RANGE_MPEG
_BYTES_PER_CUE = 24


class WebmWriter:
    """Writes a WebM file in memory. Odd widths and heights are kept.

    Args:
        width, height: of a frame, pixels.
        fps: average frames per second; each frame comes with its own time.
        seconds: expected duration; the file's front keeps room for an index of that many.
        aspect: width of a given pixel over its height; the file's pixels are square.
        sound: the track whose packets `sound` gets, or None. Opus and Vorbis are copied, the rest is encoded as Opus.
    """

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        seconds: float,
        aspect: float = 1.0,
        sound: AudioStream | None = None,
    ) -> None:
        # PyAV cannot set the muxer's aspect ratio, so frames are stretched until their pixels are square.
        self._size = width, height = square_size(width, height, aspect)
        self._file = io.BytesIO()
        cues = _BYTES_PER_CUE * (int(seconds / KEYFRAME_S) + 8)
        self._container = av.open(self._file, "w", format="webm", options={"reserve_index_space": str(128 + cues)})
        rate = Fraction(fps).limit_denominator(1001)
        self._video = self._container.add_stream(
            "libvpx-vp9",
            rate=rate,
            options={
                "deadline": "realtime",
                "cpu-used": "8",
                "lag-in-frames": "0",
                "row-mt": "1",
                "tile-columns": "1",
                "crf": str(QUALITY),
            },
        )
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        context = self._video.codec_context
        context.time_base = TICKS
        context.framerate = rate
        context.bit_rate = max(200_000, int(BITS_PER_PIXEL * width * height * min(fps, 60)))
        context.gop_size = max(1, round(KEYFRAME_S * fps))
        context.thread_count = min(default_threads(), 8)
        context.colorspace, context.color_range = _BT601, _LIMITED
        self._sound = _Sound(self._container, sound) if sound is not None else None
        self._last: Packet | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Says so where some of the sound is missing."""
        return self._sound.notes if self._sound else ()

    def add(self, pixels: ByteArray, at: float, lasts: float) -> None:
        """Appends a frame, uint8 [height, width, 3] BGR, shown from `at` for `lasts` seconds or until the next."""
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            pixels = np.asarray(cv2.resize(pixels, self._size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        frame = to_yuv(pixels)
        frame.pts, frame.time_base = round(at / TICKS), TICKS
        frame.duration = max(1, round((at + lasts) / TICKS) - frame.pts)
        for packet in self._video.encode(frame):
            packet.duration = frame.duration
            self._container.mux(packet)

    def sound(self, packet: Packet, start: float) -> None:
        """Appends a packet of the sound track; `start`: the second of its own file that is 0 here."""
        assert self._sound is not None
        self._sound.add(packet, start)

    def close(self) -> bytes:
        """Ends the file and returns its bytes."""
        for packet in self._video.encode(None):
            self._container.mux(packet)
        if self._sound is not None:
            self._sound.close()
        self._container.close()
        return self._file.getvalue()

    def abandon(self) -> None:
        """Frees the encoder without a file."""
        self._container.close()


def square_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """The size of a frame after stretching: its pixels are `aspect` times as wide as high, and become square. What
    would then be more than `MAX_FRAME_PIXELS` is scaled down."""
    if not 0.1 < aspect < 10 or abs(aspect - 1) < 0.001:
        return width, height
    wide, high = (width * aspect, height) if aspect > 1 else (width, height / aspect)
    scale = min(1.0, math.sqrt(MAX_FRAME_PIXELS / (wide * high)))
    return max(1, int(wide * scale + 0.5)), max(1, int(high * scale + 0.5))


def to_yuv(pixels: ByteArray) -> VideoFrame:
    """uint8 [H, W, 3] BGR -> 4:2:0 (BT.601, limited range), by OpenCV in a tenth of swscale's time.

    OpenCV needs even sides. An odd side repeats its last pixel, whose chroma that pixel would share anyway.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.asarray(
            cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), dtype=np.uint8
        )
    tall, wide = pixels.shape[:2]
    flat = cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    frame = VideoFrame(width, height, "yuv420p")
    half = (wide // 2) * (tall // 2)
    planes = (
        (flat[: wide * tall].reshape(tall, wide), height, width),
        (flat[wide * tall : wide * tall + half].reshape(tall // 2, wide // 2), tall // 2, wide // 2),
        (flat[wide * tall + half :].reshape(tall // 2, wide // 2), tall // 2, wide // 2),
    )
    for plane, (values, rows, columns) in zip(frame.planes, planes, strict=True):
        target = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
        target[:rows, :columns] = values[:rows, :columns]
    return frame


class _Sound:
    """The file's sound track: copies packets, or encodes them as Opus.

    Sound that cannot be decoded is left out, and `notes` say so: the pictures matter more.
    """

    def __init__(self, container: av.container.OutputContainer, source: AudioStream) -> None:
        self._container = container
        self._copied = source.codec_context.name in _COPIED
        self.notes: tuple[str, ...] = ()
        if self._copied:
            self._stream = container.add_stream_from_template(source)
            return
        layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        self._stream = container.add_stream("libopus", rate=OPUS_HZ)
        self._stream.codec_context.layout = layout
        self._stream.codec_context.bit_rate = 64_000 if layout == "mono" else 112_000
        self._resampler = av.AudioResampler(format="flt", layout=layout, rate=OPUS_HZ, frame_size=OPUS_HZ // 50)
        self._source = source

    def add(self, packet: Packet, start: float) -> None:
        assert packet.time_base is not None
        shift = round(start / float(packet.time_base))
        if self._copied:
            if packet.dts is None:
                return
            packet.pts = (packet.pts if packet.pts is not None else packet.dts) - shift
            packet.dts -= shift
            packet.stream = self._stream
            self._container.mux(packet)
            return
        try:
            decoded = self._source.codec_context.decode(packet)
        except av.error.FFmpegError:
            self.notes = ("some of the sound could not be decoded and is left out",)
            return
        for frame in decoded:
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(start / float(frame.time_base))
            self._encode(frame)

    def _encode(self, frame: av.AudioFrame | None) -> None:
        try:
            for piece in self._resampler.resample(frame):
                self._container.mux(self._stream.encode(piece))
        except (av.error.FFmpegError, ValueError):
            self.notes = ("some of the sound could not be decoded and is left out",)

    def close(self) -> None:
        if self._copied:
            return
        self._encode(None)
        self._container.mux(self._stream.encode(None))
