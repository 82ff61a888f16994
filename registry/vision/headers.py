"""Reads the headers of picture files before any pixel is allocated.

PIL's plugins do it, called directly: `Image.open` has a bomb limit of its own, a global of the process, which would
refuse before ours. WebP is read by hand, because PIL allocates its canvases on opening, as a decompression bomb wants.
So are the chunks of PNG: PIL's `verify` checks their sums, but not where the EXIF block follows the pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from registry.core.errors import BadInput
from registry.vision.foreign_files import EXPECTED, wrong_kind
from registry.vision.media_types import container

ORIENTATION = 0x0112  # EXIF tag
MAX_SCANS = 100
"""Of a progressive JPEG. Each scan covers the whole picture: a small file with thousands would take minutes."""
_END_OF_IMAGE = b"\xff\xd9"
TRUNCATED_FIX = "upload it again: the file was cut off or damaged on its way"


@dataclass(frozen=True, eq=False)
class Header:
    """A picture file without its pixels.

    Attributes:
        format: JPEG, PNG, WebP, BMP, TIFF or GIF.
        width, height: in pixels as stored, before the EXIF orientation is applied.
        mode: PIL's name of the pixel layout: `RGB`, `L`, `P`, `CMYK`, `I;16`, ...
        alpha: whether some pixels may be transparent.
        animated: whether it has more than one frame or page.
        orientation: EXIF's, 1 to 8, still to be applied.
        bits: per channel.
        inverted: whether 0 is white in the pixels of `image`.
        image: PIL's lazy image, for formats that PIL decodes; None for WebP.
        scan: offset of the coded pixels of a JPEG without an end-of-image marker; else 0.
    """

    format: str
    width: int
    height: int
    mode: str
    alpha: bool = False
    animated: bool = False
    orientation: int = 1
    bits: int = 8
    inverted: bool = False
    image: Image.Image | None = None
    scan: int = 0


def read(body: bytes) -> Header:
    """Reads the header and checks that the file is whole, except for a JPEG without its end marker (`Header.scan`).

    Raises:
        UnsupportedMedia: a file of a known kind that is not a picture we take (PDF, HEIC, a video, ...).
        BadInput: empty, unknown, a damaged header, or cut off.
    """
    name = format_of(body)
    if name is None:
        raise wrong_kind(body)
    try:
        return _FORMATS[name][1](body)
    except BadInput:
        raise
    except Exception as error:  # hostile bytes can make PIL's parsers raise anything
        if "truncated" in str(error).lower():
            raise truncated(name, "its header is cut off") from error
        raise BadInput(
            f"the file begins like a {name} picture, but its header cannot be read ({error})",
            expected=EXPECTED,
            fix="open it in a picture program and save it again",
        ) from error


def format_of(start: bytes) -> str | None:
    """The format of a file with these first bytes, as in `Header`; None for what `read` does not take."""
    for name, (starts, _) in _FORMATS.items():
        if start.startswith(starts) and (name != "WebP" or start[8:12] == b"WEBP"):
            return name
    return None


def truncated(name: str, what: str) -> BadInput:
    """The error for a file that was cut off."""
    return BadInput(f"the {name} file is truncated: {what}", expected="a whole picture", fix=TRUNCATED_FIX)


def _jpeg(body: bytes) -> Header:
    stream = io.BytesIO(body)
    image = JpegImageFile(stream)
    # PIL stops after the first start-of-scan. FF is escaped in coded data (ITU T.81, B.1.1.5), and thumbnails with
    # markers of their own lie before it: FF D9 behind it can only be the end-of-image marker.
    begin = stream.tell()
    ended = body.rfind(_END_OF_IMAGE, begin) >= 0
    if not ended and len(body) <= begin:
        raise truncated("JPEG", "it ends before its pixels")
    scans = 1 + _scans(body[begin:])
    if scans > 1 and container(body) is not None:
        raise wrong_kind(body)
    if scans > MAX_SCANS:  # bytes behind the picture, such as a phone's film, look like scans by chance
        scans = 1 + _scans(body[begin : body.find(_END_OF_IMAGE, begin)])
    if scans > MAX_SCANS:
        raise BadInput(
            f"the progressive JPEG has {scans} scans",
            expected=f"at most {MAX_SCANS}; cameras and programs write about ten",
            fix="save it again as a baseline JPEG",
        )
    turned = orientation_of(image.info.get("exif"))
    return Header("JPEG", *image.size, image.mode, orientation=turned, image=image, scan=0 if ended else begin)


def _scans(coded: bytes) -> int:
    """Counts start-of-scan markers, five times as fast as `bytes.count`: FF is frequent."""
    values = np.frombuffer(coded, dtype=np.uint8)
    return int(np.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA)))


def _png(body: bytes) -> Header:
    exif, depth, frames, complete = None, 8, 1, False
    for kind, chunk in _png_chunks(body):
        if kind == b"IHDR":
            depth = chunk[8]
        elif kind == b"eXIf":  # may follow the pixels, where PIL does not look before it decodes
            exif = bytes(chunk)
        elif kind == b"acTL":
            frames = int.from_bytes(chunk[:4], "big")
        complete = kind == b"IEND"
    if not complete:
        raise truncated("PNG", "its end chunk is missing")
    image = PngImageFile(io.BytesIO(body))
    alpha = "A" in image.mode or "transparency" in image.info
    turned = orientation_of(exif)
    return Header("PNG", *image.size, image.mode, alpha, frames > 1, turned, depth, image=image)


def _png_chunks(body: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at = memoryview(body), 8
    while at + 12 <= len(body):
        length, kind = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 12 + length
        if end > len(body):
            raise truncated("PNG", f"its chunk {kind.decode('latin-1')} ends after the file does")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise BadInput(
                f"the PNG file is damaged: the checksum of its chunk {kind.decode('latin-1')} is wrong",
                expected="a whole picture",
                fix=TRUNCATED_FIX,
            )
        yield kind, view[at + 8 : end - 4]
        if kind == b"IEND":
            return
        at = end


def _webp(body: bytes) -> Header:
    if 8 + int.from_bytes(body[4:8], "little") > len(body) + 1:  # the last chunk's padding byte may be missing
        raise truncated("WebP", f"it has {len(body)} of {8 + int.from_bytes(body[4:8], 'little')} bytes")
    return webp_header(body)


def webp_header(body: bytes) -> Header:
    """Of a whole file or its beginning. RFC 9649: the first chunk is VP8X (extended), VP8L (lossless) or `VP8 `
    (lossy)."""
    kind, data = body[12:16], body[20:]
    alpha = animated = False
    exif = None
    if kind == b"VP8X":
        alpha, animated = bool(data[0] & 0x10), bool(data[0] & 0x02)
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (4, 7))
        if data[0] & 0x08:
            exif = _riff_chunk(body, b"EXIF")
    elif kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        width, height, alpha = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    else:
        raise ValueError(f"its first chunk is {kind!r}")
    return Header("WebP", width, height, "RGBA" if alpha else "RGB", alpha, animated, orientation_of(exif))


def _riff_chunk(body: bytes, wanted: bytes) -> bytes | None:
    at = 12
    while at + 8 <= len(body):
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        if body[at : at + 4] == wanted:
            return body[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return None


def _gif(body: bytes) -> Header:
    image = GifImageFile(io.BytesIO(body))
    alpha = "transparency" in image.info
    return Header(
        "GIF", *image.size, image.mode, alpha, image.is_animated, image=image
    )  # is_animated reads no further than frame 2


_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF 6.0
_WHITE_IS_ZERO = 0
_SAMPLES = {2: "signed {}-bit", 3: "{}-bit floating-point", 5: "complex", 6: "complex"}


def _tiff(body: bytes) -> Header:
    if int.from_bytes(body[4:8], "little" if body.startswith(b"II") else "big") + 2 > len(body):
        raise truncated("TIFF", "its directory lies beyond its end")
    tags = _tiff_tags(body)
    depth, kind = max(tags.get(_BITS, (1,))), max(tags.get(_SAMPLE_FORMAT, (1,)))
    if kind in _SAMPLES or (depth > 16 and kind == 1):
        samples = _SAMPLES.get(kind, "unsigned {}-bit").format(depth)
        raise BadInput(
            f"the TIFF picture has {samples} samples",
            expected="unsigned samples of up to 16 bits a channel",
            fix="save it with 8 bits a channel",
        )
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and depth > 8  # up to 8 bits PIL inverts them itself
    try:
        image = TiffImageFile(io.BytesIO(_black_is_zero(body) if inverted else body))
    except SyntaxError as error:  # PIL raises it for an unknown layout
        layout = f"{len(tags.get(_BITS, (1,)))} channels of {depth} bits, interpretation {tags.get(_PHOTOMETRIC)}"
        raise BadInput(
            f"the TIFF picture has an unknown pixel layout: {layout}",
            expected="grey, colour, palette or CMYK, with unsigned samples of 1, 2, 4, 8 or 16 bits",
            fix="save it with 8 bits a channel",
        ) from error
    alpha = image.mode in ("RGBA", "LA", "PA")
    more = bool(image.tag_v2.next)  # offset of the next page's directory
    # No orientation: PIL applies it when it decodes TIFF.
    return Header("TIFF", *image.size, image.mode, alpha, more, bits=depth, inverted=inverted, image=image)


def _tiff_tags(body: bytes) -> ImageFileDirectory_v2:
    stream = io.BytesIO(body)
    tags = ImageFileDirectory_v2(stream.read(8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _black_is_zero(body: bytes) -> bytes:
    """The file, changed to black-is-zero: of more than 8 bits, PIL reads grey in that form only."""
    order: Literal["little", "big"] = "little" if body.startswith(b"II") else "big"
    at = int.from_bytes(body[4:8], order)
    entries = range(at + 2, at + 2 + 12 * int.from_bytes(body[at : at + 2], order), 12)
    entry = next(n for n in entries if int.from_bytes(body[n : n + 2], order) == _PHOTOMETRIC)
    width = 4 if int.from_bytes(body[entry + 2 : entry + 4], order) == 4 else 2  # LONG, else SHORT
    return body[: entry + 8] + (1).to_bytes(width, order) + body[entry + 8 + width :]


def _bmp(body: bytes) -> Header:
    image = BmpImageFile(io.BytesIO(body))
    return Header("BMP", *image.size, image.mode, image.mode == "RGBA", image=image)


def orientation_of(exif: bytes | None) -> int:
    """The EXIF orientation; 1 if it is missing or damaged: no picture is refused for its EXIF block."""
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif if exif.startswith(b"Exif\x00\x00") else b"Exif\x00\x00" + exif)
        value = tags.get(ORIENTATION, 1)
    except (SyntaxError, ValueError, OSError, KeyError, IndexError, struct.error):
        return 1
    return value if value in range(1, 9) else 1


_FORMATS: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], Header]]] = {
    "JPEG": ((b"\xff\xd8\xff",), _jpeg),
    "PNG": ((b"\x89PNG\r\n\x1a\n",), _png),
    "WebP": ((b"RIFF",), _webp),
    "GIF": ((b"GIF87a", b"GIF89a"), _gif),
    "TIFF": ((b"II*\x00", b"MM\x00*"), _tiff),
    "BMP": ((b"BM",), _bmp),
}
