"""Decodes and encodes picture files, and scales pictures into a network's input and boxes back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BadInput, TooLarge
from registry.core.media import ByteArray, FloatArray, Picture
from registry.vision import headers, jpeg_end
from registry.vision.headers import Header

MIN_SIDE = 8
"""Pixels. Less shows nothing, and resizing it is guesswork."""

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # the orientation is applied here, for every format alike
_ALL_CHANNELS = cv2.IMREAD_UNCHANGED


def decode(body: bytes, limit: int) -> Picture:
    """Decodes a picture file to upright 8-bit BGR; of an animation or a document it takes the first frame.

    Transparency is laid over white. CMYK and 16-bit samples are converted; `notes` say so. ICC profiles are ignored.

    Args:
        body: JPEG, PNG, WebP, BMP, TIFF or GIF.
        limit: largest width x height, checked before anything is allocated.

    Raises:
        UnsupportedMedia: another known format.
        TooLarge: more pixels than `limit`.
        BadInput: not a picture, truncated, damaged, smaller than `MIN_SIDE`, or of a pixel type without 8-bit meaning.
    """
    header = headers.read(body)
    _check_size(header, limit)
    notes = []
    if header.scan:
        body = _ended(body, header.scan)
        header = headers.read(body)
        notes.append("the JPEG's end-of-image marker was missing; its pixels are complete")
    if header.animated:
        notes.append("first page of several" if header.format == "TIFF" else "first frame of an animation")
    if header.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    if header.bits > 8:
        notes.append(f"{header.bits}-bit samples reduced to 8 bits")
    pixels = _with_opencv(body, header) if _opencv_reads(header) else _with_pil(header)
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        pixels, note = _over_white(pixels)
        notes += [note] if note else []
    upright = _turn(pixels, header.orientation)
    return Picture(np.ascontiguousarray(upright), header.format, tuple(notes))


def _check_size(header: Header, limit: int) -> None:
    size = f"the {header.format} picture is {header.width} x {header.height} pixels"
    if header.width * header.height > limit:
        raise TooLarge(size, expected=f"at most {limit / 1e6:g} megapixels", fix="scale it down first")
    if min(header.width, header.height) < MIN_SIDE:
        raise BadInput(
            size, expected=f"at least {MIN_SIDE} x {MIN_SIDE}", fix="upload the picture itself, not a thumbnail"
        )


def _ended(body: bytes, scan: int) -> bytes:
    ended = jpeg_end.with_end_marker(body, scan)
    if ended is None:
        raise headers.truncated("JPEG", "the end-of-image marker and pixels before it are missing")
    return ended


def _opencv_reads(header: Header) -> bool:
    """OpenCV is two to ten times as fast as PIL. But it fills truncated BMP and TIFF files with grey, ignores colour
    keys and reads animations in its own way."""
    if header.format == "JPEG":
        return header.mode != "CMYK"
    if header.format == "PNG":
        return not header.animated and (not header.alpha or header.mode == "RGBA")
    return header.format == "WebP"


def _with_opencv(body: bytes, header: Header) -> ByteArray:
    flags = _ALL_CHANNELS if header.alpha else _COLOUR
    try:
        pixels = cv2.imdecode(np.frombuffer(body, dtype=np.uint8), flags)
    except cv2.error as error:
        raise _damaged(header, error.err) from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise _damaged(header, "the decoder gave up")
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    return np.asarray(pixels, dtype=np.uint8)


def _with_pil(header: Header) -> ByteArray:
    image = header.image
    assert image is not None  # only WebP has none, which OpenCV reads
    if header.mode in ("F", "I"):
        raise BadInput(
            f"the {header.format} picture has {'floating-point' if header.mode == 'F' else '32-bit'} samples",
            expected="8 or 16 bits a channel",
            fix="save it with 8 bits a channel",
        )
    try:
        image.load()  # raises for truncated files, and turns TIFF pixels upright
        if header.mode.startswith("I;16"):
            most = (1 << header.bits) - 1
            deep = np.asarray(image).astype(np.uint16)
            return cv2.convertScaleAbs(most - deep if header.inverted else deep, alpha=255 / most).astype(np.uint8)
        pixels = np.asarray(image.convert("RGBA" if header.alpha else "RGB"))
    except Exception as error:  # hostile bytes can make PIL's decoders raise anything
        raise _damaged(header, str(error)) from error
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if header.alpha else cv2.COLOR_RGB2BGR).astype(np.uint8)


def _damaged(header: Header, why: str) -> BadInput:
    return BadInput(
        f"the {header.format} picture cannot be decoded: {why}", expected="a whole picture", fix=headers.TRUNCATED_FIX
    )


def _over_white(pixels: ByteArray) -> tuple[ByteArray, str]:
    """Lays BGRA over white, and says so in a note. Alpha that is 0 everywhere is ignored: some programs write it so."""
    alpha = pixels[:, :, 3]
    if int(alpha.min()) == 255 or not alpha.any():
        note = "" if alpha.any() else "alpha is 0 everywhere and was left out"
        return np.ascontiguousarray(pixels[:, :, :3]), note
    share = alpha[:, :, None].astype(np.uint16)
    mixed = (pixels[:, :, :3] * share + 255 * (255 - share) + 127) // 255
    return mixed.astype(np.uint8), "transparency laid over white"


def _turn(pixels: ByteArray, orientation: int) -> NDArray[np.uint8]:
    """Applies an EXIF orientation (CIPA DC-008, tag 0x0112); 2: mirror, 3: half a turn, 6: quarter turn right."""
    if orientation >= 5:
        pixels = cv2.transpose(pixels).astype(np.uint8, copy=False)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip).astype(np.uint8, copy=False)


def to_jpeg(pixels: ByteArray, quality: int = 88) -> bytes:
    """uint8 [H, W, 3] BGR (or [H, W] grey) -> JPEG. Raises ValueError if OpenCV cannot encode it."""
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG can be made of an array of shape {pixels.shape}")
    return encoded.tobytes()


def to_input(pixels: ByteArray) -> FloatArray:
    """uint8 [H, W, 3] BGR -> float32 [3, H, W] RGB in [0, 1]."""
    return np.asarray(cv2.dnn.blobFromImage(pixels, 1 / 255, swapRB=True)[0], dtype=np.float32)


@dataclass(frozen=True)
class Letterbox:
    """A picture scaled into a square with its aspect ratio kept, centred, the rest padded (as YOLOv5's `letterbox`).

    Attributes:
        width, height: of the picture in pixels.
        size: edge of the square in pixels.
        scale_x, scale_y: pixels of the square per pixel of the picture; equal up to rounding.
        inner: the rectangle (x1, y1, x2, y2) of the square that shows the picture, whole pixels.
    """

    width: int
    height: int
    size: int
    scale_x: float
    scale_y: float
    inner: tuple[int, int, int, int]

    @classmethod
    def of(cls, width: int, height: int, size: int) -> Letterbox:
        """Raises ValueError for an empty picture or square."""
        if min(width, height, size) < 1:
            raise ValueError(f"{width} x {height} cannot be fitted into {size} x {size}")
        scale = min(size / width, size / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (size - across) // 2, (size - down) // 2
        return cls(width, height, size, across / width, down / height, (left, top, left + across, top + down))

    def fit(self, pixels: ByteArray, pad: int = 114) -> ByteArray:
        """uint8 [height, width, 3] -> uint8 [size, size, 3]; `pad` is the grey around the picture."""
        x1, y1, x2, y2 = self.inner
        if (x2 - x1, y2 - y1) != (self.width, self.height):
            # Bilinear is faster, but skips pixels when it scales down far.
            way = cv2.INTER_AREA if self.scale_x < 0.5 else cv2.INTER_LINEAR
            pixels = cv2.resize(pixels, (x2 - x1, y2 - y1), interpolation=way).astype(np.uint8, copy=False)
        square = np.full((self.size, self.size, 3), pad, dtype=np.uint8)
        square[y1:y2, x1:x2] = pixels
        return square

    def to_network(self, boxes: FloatArray) -> FloatArray:
        """Boxes float [N, 4] (x1, y1, x2, y2), pixels of the picture -> pixels of the square, float32."""
        scale, offset = self._map()
        return (np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * scale + offset).astype(np.float32)

    def to_picture(self, boxes: FloatArray) -> FloatArray:
        """The inverse of `to_network`, float32 [N, 4], cut off at the picture's edges."""
        scale, offset = self._map()
        back = (np.asarray(boxes, dtype=np.float32).reshape(-1, 4) - offset) / scale
        limits = np.array([self.width, self.height] * 2, dtype=np.float32)
        return np.clip(back, 0, limits).astype(np.float32)

    def _map(self) -> tuple[FloatArray, FloatArray]:
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
        return scale, np.array(self.inner[:2] * 2, dtype=np.float32)
