"""Pictures of every format, made with Pillow and OpenCV, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from registry.core.media import ByteArray

LIMIT = 4_000_000


def scene(height: int = 60, width: int = 96) -> ByteArray:
    """Smooth, and without any symmetry: left and right, top and bottom, and the channels all differ. BGR."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([255 * x / width, 200 * y / height, 120 * (x / width) * (y / height) + 60], axis=2)
    image[: height // 4, : width // 4] = (20, 30, 220)
    return np.rint(image).astype(np.uint8)


def packed(pixels: ByteArray, name: str, mode: str = "RGB", **options: object) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).convert(mode)
    return saved(image, name, **options)


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def claiming(name: str, side: int) -> bytes:
    """A small file whose header claims `side` x `side` pixels."""
    small = bytearray(packed(scene(16, 24), name))
    if name == "JPEG":
        at = small.index(b"\xff\xc0") + 5
        small[at : at + 4] = struct.pack(">HH", side, side)
    elif name == "PNG":
        small[16:24] = struct.pack(">II", side, side)
    elif name == "GIF":
        small[6:10] = struct.pack("<HH", side, side)
    elif name == "BMP":
        small[18:26] = struct.pack("<ii", side, side)
    elif name == "TIFF":
        begin = int.from_bytes(small[4:8], "little")
        for at in range(begin + 2, begin + 2 + 12 * int.from_bytes(small[begin : begin + 2], "little"), 12):
            if int.from_bytes(small[at : at + 2], "little") in (256, 257):  # ImageWidth, ImageLength as LONG
                small[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    else:
        size = (side - 1).to_bytes(3, "little")
        small[12:] = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return bytes(small)


def off(a: ByteArray, b: ByteArray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that promises a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GOOD: dict[str, Callable[[ByteArray], bytes]] = {
    "JPEG": lambda a: packed(a, "JPEG", quality=95),
    "progressive JPEG": lambda a: packed(a, "JPEG", quality=95, progressive=True),
    "CMYK JPEG (Adobe's inverted samples)": lambda a: packed(a, "JPEG", "CMYK", quality=95),
    "PNG": lambda a: packed(a, "PNG"),
    "opaque RGBA PNG": lambda a: packed(a, "PNG", "RGBA"),
    "WebP": lambda a: packed(a, "WEBP", quality=95),
    "lossless WebP": lambda a: packed(a, "WEBP", lossless=True),
    "BMP": lambda a: packed(a, "BMP"),
    "TIFF": lambda a: packed(a, "TIFF"),
    "LZW TIFF": lambda a: packed(a, "TIFF", compression="tiff_lzw"),
    "CMYK TIFF": lambda a: packed(a, "TIFF", "CMYK"),
    "16-bit PNG": lambda a: cv2.imencode(".png", a.astype(np.uint16) * 257)[1].tobytes(),
    "16-bit TIFF": lambda a: cv2.imencode(".tiff", a.astype(np.uint16) * 257)[1].tobytes(),
}
BOMBS = {
    "PNG": png(30_000, 30_000),
    "JPEG": b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 30_000, 30_000) + b"\3\1\x11\0\2\x11\0\3\x11\0"
    b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0" + b"\0" * 20 + b"\xff\xd9",
    "WebP": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
    + (29_999).to_bytes(3, "little") * 2 + bytes(8),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0)
    + b"," + struct.pack("<HHHHB", 0, 0, 30_000, 30_000, 0) + b"\x02\x02\x4c\x01\0;",
    "BMP": b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100),
}  # fmt: skip
