"""Content types and file endings of pictures and videos, and how their files begin. Imports no library, as every
model's `SPEC` is read at the start of every command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RAW = "application/octet-stream"
"""A program that does not know: the decoder finds out."""

PICTURE_IN = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif")
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
    ".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".3gp", ".ogv", ".flv", ".wmv"
)  # fmt: skip
VIDEO_OUT = "video/webm"

DETECTOR_IN = (*PICTURE_IN, *VIDEO_IN, RAW)
DETECTOR_EXTENSIONS = (*PICTURE_EXTENSIONS, *VIDEO_EXTENSIONS)
DETECTOR_OUT = ("application/json", "image/jpeg", VIDEO_OUT)


@dataclass(frozen=True)
class Container:
    """A video file format: its name, FFmpeg's demuxer, and the ending that such a file usually has."""

    title: str
    demuxer: str
    ending: str
    is_it: Callable[[bytes], bool]


_PICTURE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"avif", b"avis")
_EBML, _ASF = b"\x1aE\xdf\xa3", bytes.fromhex("3026b2758e66cf11")
CONTAINERS = (
    Container("MP4", "mov", ".mp4", lambda b: b[4:8] == b"ftyp" and b[8:12] not in (*_PICTURE_BRANDS, b"qt  ")),
    Container("QuickTime", "mov", ".mov", lambda b: b[4:12] == b"ftypqt  " or b[4:8] in (b"moov", b"mdat", b"wide")),
    Container("WebM", "matroska", ".webm", lambda b: b.startswith(_EBML) and b"webm" in b[:64]),
    Container("Matroska", "matroska", ".mkv", lambda b: b.startswith(_EBML)),
    Container("AVI", "avi", ".avi", lambda b: b.startswith(b"RIFF") and b[8:11] == b"AVI"),
    Container("MPEG-TS", "mpegts", ".ts", lambda b: len(b) > 376 and b[0] == b[188] == b[376] == 0x47),
    Container("MPEG-TS", "mpegts", ".m2ts", lambda b: len(b) > 388 and b[4] == b[196] == b[388] == 0x47),
    Container("MPEG", "mpeg", ".mpg", lambda b: b.startswith(b"\x00\x00\x01\xba")),
    Container("Ogg", "ogg", ".ogv", lambda b: b.startswith(b"OggS")),
    Container("FLV", "flv", ".flv", lambda b: b.startswith(b"FLV\x01")),
    Container("WMV", "asf", ".wmv", lambda b: b.startswith(_ASF)),
)
_PICTURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (".jpg", lambda b: b.startswith(b"\xff\xd8\xff")),
    (".png", lambda b: b.startswith(b"\x89PNG\r\n\x1a\n")),
    (".webp", lambda b: b.startswith(b"RIFF") and b[8:12] == b"WEBP"),
    (".gif", lambda b: b.startswith((b"GIF87a", b"GIF89a"))),
    (".tif", lambda b: b.startswith((b"II*\x00", b"MM\x00*"))),
    (".bmp", lambda b: b.startswith(b"BM")),
)


def container(body: bytes) -> Container | None:
    """What kind of video file (or of sound file in such a container) the first bytes are of."""
    head = body[:512]
    return next((kind for kind in CONTAINERS if kind.is_it(head)), None)


def is_video(body: bytes) -> bool:
    """Whether the first bytes are those of a video file."""
    return container(body) is not None


def ending(body: bytes) -> str:
    """The file ending for a picture's or a video's bytes, with its dot; empty for anything else."""
    kind = container(body)
    if kind is not None:
        return kind.ending
    return next((name for name, is_it in _PICTURES if is_it(body[:16])), "")
