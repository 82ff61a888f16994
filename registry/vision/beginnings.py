"""What the first bytes of a picture file say: enough to refuse a file before the rest of it is sent.

No pixel is allocated, whatever the header claims; PIL's `Image.open` and `getexif` may decode a PNG, and `Image.open`
raises for large pictures.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from registry.vision.headers import format_of, orientation_of, webp_header

_BY_PIL: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
_ON_ITS_SIDE = range(5, 9)
"""EXIF orientations."""


def begins_like_a_picture(start: bytes) -> bool:
    """Whether `registry.vision.headers.read` takes files with these first bytes."""
    return format_of(start) is not None


def upright_size(start: bytes) -> tuple[int, int] | None:
    """Width and height as a person sees the picture, by the first bytes of its file; None where they do not say."""
    try:
        width, height, orientation = _stored(start)
    except Exception:  # hostile bytes can make PIL's parsers raise anything
        return None
    return (height, width) if orientation in _ON_ITS_SIDE else (width, height)


def _stored(start: bytes) -> tuple[int, int, int]:
    """Width and height as stored, and the orientation still to be applied."""
    name = format_of(start)
    if name == "PNG":
        exif = next((chunk for kind, chunk in _png_chunks(start) if kind == b"eXIf"), None)
        return *struct.unpack(">II", start[16:24]), orientation_of(exif)
    if name == "WebP":
        header = webp_header(start)
        return header.width, header.height, header.orientation
    image = _BY_PIL[name or ""](io.BytesIO(start))
    # PIL turns TIFF's pixels itself; its sizes are those of the turned picture.
    return *image.size, orientation_of(image.info.get("exif")) if name == "JPEG" else 1


def _png_chunks(start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of the chunks that are there."""
    at = 8
    while at + 8 <= len(start):
        end = at + 8 + int.from_bytes(start[at : at + 4], "big")
        yield start[at + 4 : at + 8], start[at + 8 : end]
        at = end + 4
