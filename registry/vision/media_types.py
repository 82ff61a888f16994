"""Content types, extensions and first bytes of pictures and videos.

Imports no library: every command reads the `SPEC` of every model at its start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RAW = "application/octet-stream"
"""For callers that do not know the type: the decoder finds out."""

_PICTURE = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif")
PICTURE_IN = (*_PICTURE, RAW)
PICTURE_OUT = ("application/json", "image/jpeg")
MASK_OUT = ("application/json", "image/png", "image/jpeg")
"""Of a segmentation of pictures: the PNG is the mask."""
PICTURE_EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

VIDEO_IN = (
    "video/mp4",
    "video/webm",
    "video/x-matroska",
    "video/quicktime",
    "video/x-msvideo",
    "video/mpeg",
    "video/mp2t",
    "video/3gpp",
    "video/ogg",
    "video/x-flv",
    "video/x-ms-wmv",
)
VIDEO_EXTENSIONS = (
    ".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".3gp", ".ogv", ".flv", ".wmv",
    ".mjpeg",
)  # fmt: skip
VIDEO_OUT = "video/webm"

DETECTOR_IN = (*_PICTURE, *VIDEO_IN, RAW)
DETECTOR_EXTENSIONS = (*PICTURE_EXTENSIONS, *VIDEO_EXTENSIONS)
DETECTOR_OUT = ("application/json", "image/jpeg", VIDEO_OUT)


@dataclass(frozen=True)
class Container:
    """A video file format: its name, FFmpeg's demuxer, and the extension that such a file usually has."""

    title: str
    demuxer: str
    extension: str
    is_it: Callable[[bytes], bool]


_PICTURE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"avif", b"avis")
_EBML, _ASF = b"\x1aE\xdf\xa3", bytes.fromhex("3026b2758e66cf11")
_SOI = b"\xff\xd8\xff"  # the beginning of a JPEG
_FILLERS = (b"free", b"skip", b"wide", b"pnot", b"PICT", b"pict", b"uuid", b"junk", b"prfl")
_MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx")
_MAX_FILLERS = 64
_TS_PACKETS, _TS_SEARCHED = 5, 8192
"""How many packets must follow each other, and in how many first bytes the first one must begin."""


def _first_box(body: bytes) -> tuple[bytes, bytes]:
    """Type and brand of the first telling box (ISO/IEC 14496-12, 4.2). Fillers and previews (`pnot`) may precede it."""
    at = 0
    for _ in range(_MAX_FILLERS):
        size, kind = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8]
        if kind in _MOVIE_BOXES:
            return kind, body[at + 8 : at + 12]
        if kind not in _FILLERS:
            break
        if size == 1:
            size = int.from_bytes(body[at + 8 : at + 16], "big")
        if size < 8:
            break
        at += size
    return b"", b""


def _is_mp4(body: bytes) -> bool:
    kind, brand = _first_box(body)
    return kind in (b"styp", b"moof", b"sidx") or (kind == b"ftyp" and brand not in (*_PICTURE_BRANDS, b"qt  "))


def _is_quicktime(body: bytes) -> bool:
    kind, brand = _first_box(body)
    return kind in (b"moov", b"mdat") or (kind, brand) == (b"ftyp", b"qt  ")


def _is_ts(body: bytes, packet: int) -> bool:
    """Whether packets of `packet` bytes follow each other near the beginning: a recording may start inside one."""
    at = body.find(b"\x47", 0, _TS_SEARCHED)
    while at >= 0:
        if _is_ts_at(body, at, packet):
            return True
        at = body.find(b"\x47", at + 1, _TS_SEARCHED)
    return False


def _is_ts_at(body: bytes, at: int, packet: int, count: int = _TS_PACKETS) -> bool:
    """Whether `count` headers follow each other (ISO/IEC 13818-1, 2.4.3.2), without errors and with content."""
    starts = range(at, at + count * packet, packet)
    return starts[-1] + 4 <= len(body) and all(
        body[n] == 0x47 and body[n + 1] < 0x80 and body[n + 3] & 0x30 for n in starts
    )


def _is_mjpeg(body: bytes) -> bool:
    """Whether two JPEGs of one size follow each other. A phone's depth or gain map is announced in the first picture
    (CIPA DC-007), and a preview at the end is smaller."""
    if not body.startswith(_SOI):
        return False
    *size, scan = _jpeg_size(body, 0)
    at = body.find(b"\xff\xd9" + _SOI, scan)
    if at < 0:
        return False
    *second, _ = _jpeg_size(body, at + 2)
    return size == second != [0, 0] and b"MPF\0" not in body[:scan]


def _jpeg_size(body: bytes, at: int) -> tuple[int, int, int]:
    """Width and height of the JPEG at offset `at` (0, 0: none), and the offset of its first scan (ITU T.81, B.2)."""
    width = height = 0
    at += 2
    while at + 4 <= len(body) and body[at] == 0xFF:
        kind = body[at + 1]
        if kind in (0xFF, 0x01) or 0xD0 <= kind <= 0xD8:
            at += 1 if kind == 0xFF else 2
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(body[at + n : at + n + 2], "big") for n in (5, 7))
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        if kind in (0xDA, 0xD9):
            break
    return width, height, at


CONTAINERS = (
    Container("MP4", "mov", ".mp4", _is_mp4),
    Container("QuickTime", "mov", ".mov", _is_quicktime),
    Container("WebM", "matroska", ".webm", lambda b: b.startswith(_EBML) and b"webm" in b[:64]),
    Container("Matroska", "matroska", ".mkv", lambda b: b.startswith(_EBML)),
    Container("AVI", "avi", ".avi", lambda b: b.startswith(b"RIFF") and b[8:11] == b"AVI"),
    Container("MPEG-TS", "mpegts", ".ts", lambda b: _is_ts_at(b, 0, 188, 3)),
    Container("MPEG-TS", "mpegts", ".m2ts", lambda b: _is_ts_at(b, 4, 192, 3)),
    Container("MPEG", "mpeg", ".mpg", lambda b: b.startswith(b"\x00\x00\x01\xba")),
    Container("Ogg", "ogg", ".ogv", lambda b: b.startswith(b"OggS")),
    Container("FLV", "flv", ".flv", lambda b: b.startswith(b"FLV\x01")),
    Container("WMV", "asf", ".wmv", lambda b: b.startswith(_ASF)),
    Container("Motion JPEG", "mjpeg", ".mjpeg", _is_mjpeg),
)
_STARTED_MID_PACKET = (
    Container("MPEG-TS", "mpegts", ".ts", lambda b: _is_ts(b, 188)),
    Container("MPEG-TS", "mpegts", ".m2ts", lambda b: _is_ts(b, 192)),
    Container("MPEG-TS", "mpegts", ".ts", lambda b: _is_ts(b, 204)),
)
"""Tried last: it takes a search."""
_PICTURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (".jpg", lambda b: b.startswith(b"\xff\xd8\xff")),
    (".png", lambda b: b.startswith(b"\x89PNG\r\n\x1a\n")),
    (".webp", lambda b: b.startswith(b"RIFF") and b[8:12] == b"WEBP"),
    (".gif", lambda b: b.startswith((b"GIF87a", b"GIF89a"))),
    (".tif", lambda b: b.startswith((b"II*\x00", b"MM\x00*"))),
    (".bmp", lambda b: b.startswith(b"BM")),
)


def container(body: bytes) -> Container | None:
    """The video format of a file, or of a sound file in such a container; None for anything else.

    Pass the whole file if you can: the telling box may follow large fillers.
    """
    found = next((kind for kind in CONTAINERS if kind.is_it(body)), None)
    if found is None and not _is_picture(body):
        found = next((kind for kind in _STARTED_MID_PACKET if kind.is_it(body)), None)
    return found


def is_video(body: bytes) -> bool:
    """Whether `container` knows the file."""
    return container(body) is not None


def extension_of(body: bytes) -> str:
    """The file extension for a picture's or a video's bytes, e.g. `.jpg`; "" for anything else.

    Motion JPEG is `.jpg` here: only a search through the whole file tells it from a picture, and every picture would
    pay for that.
    """
    name = _is_picture(body)
    if name:
        return name
    kind = container(body)
    return kind.extension if kind is not None else ""


def _is_picture(body: bytes) -> str:
    return next((name for name, is_it in _PICTURES if is_it(body[:16])), "")
