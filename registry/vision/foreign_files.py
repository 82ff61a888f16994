"""Recognises files of the wrong kind by their first bytes, so that an error can say what somebody sent.

By hand: the error also names scans, base64 and what is in a gzip file, and says what to do about each kind.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from registry.core.errors import BadInput, UnsupportedMedia
from registry.vision.media_types import container

EXPECTED = "a JPEG, PNG, WebP, BMP, TIFF or GIF picture"
PEEKED = 1024
"""How many first bytes are enough, except for a few videos that begin with filler boxes."""

Group = Literal["picture", "video", "sound", "scan", "archive", "document", "data", "text", "encoded"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: with its article, as in "the file is a PNG picture".
        group: decides what the error tells people to do.
    """

    name: str
    group: Group


def recognise(body: bytes) -> Kind | None:
    """The kind of a file by its beginning; None if it is unknown. `body` may be its first `PEEKED` bytes."""
    if body.startswith(b"\x1f\x8b"):
        unpacked = _unpacked(body)
        inner = None if unpacked.startswith(b"\x1f\x8b") else recognise(unpacked)  # some contain themselves
        if inner is not None and inner.group == "scan":
            return inner
        return Kind(f"a gzip file with {inner.name} in it" if inner else "a gzip file", "archive")
    for kind, is_it in _KINDS:
        if is_it(body):
            return kind
    video = container(body)
    if video is not None:
        return Kind(f"a video ({video.title})", "video")
    if body.startswith(b"\xff\xd8\xff"):  # after `container`: JPEGs in a row are a video
        return Kind("a JPEG picture", "picture")
    coded = _from_base64(body)
    inner = recognise(coded) if coded else None
    return Kind(f"base64 text of {inner.name}", "encoded") if inner else None


def wrong_kind(body: bytes, wanted: str = "a picture", expected: str = EXPECTED) -> BadInput:
    """The error for a file that is not `wanted`. It names the file's kind where that is known."""
    if not body:
        return BadInput("the file is empty", expected=expected, fix="choose the file again")
    kind = recognise(body)
    if kind is not None:
        fix = _FIX.get(kind.group, f"choose {wanted}")
        return UnsupportedMedia(f"the file is {kind.name}", expected=expected, fix=fix)
    return BadInput(f"the file is not {wanted}: it begins with {body[:8]!r}", expected=expected, fix=f"choose {wanted}")


DECODE_FIX = 'decode it first; in a request base64 goes into JSON: {"input": "<base64>"}'
_FIX: Mapping[Group, str] = {
    "picture": "convert it to JPEG or PNG",
    "document": "convert the page to JPEG or PNG",
    "video": "send a picture, e.g. one frame of it, or choose a model that takes videos",
    "scan": "export one slice of it as JPEG or PNG, or choose a model that takes scans",
    "archive": "unpack it and send the picture in it",
    "encoded": DECODE_FIX,
}


def _unpacked(body: bytes) -> bytes:
    """The beginning of a gzip file's content; b"" if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(body[: 1 << 16], PEEKED)
    except zlib.error:
        return b""


def _from_base64(body: bytes) -> bytes:
    """The beginning of what base64 or a data: address holds; b"" for anything else."""
    head = body[:PEEKED]
    if head.startswith(b"data:"):
        head = head.partition(b";base64,")[2]
    head = head.translate(None, b"\r\n")
    try:
        return binascii.a2b_base64(head[: len(head) // 4 * 4], strict_mode=True) if len(head) >= 16 else b""
    except binascii.Error:
        return b""


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda body: body.startswith(marks)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """For files made of boxes (ISO/IEC 14496-12)."""
    return lambda body: body[4:8] == b"ftyp" and body[8:12] in brands


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda body: body.startswith(b"RIFF") and body[8:12] == form


def _is_nifti(body: bytes) -> bool:
    sizes = (int.from_bytes(body[:4], "little"), int.from_bytes(body[:4], "big"))
    return (348 in sizes and body[344:347] in (b"n+1", b"ni1")) or (540 in sizes and body[4:7] in (b"n+2", b"ni2"))


def _is_bmp(body: bytes) -> bool:
    """Texts begin with BM as well, so the second header must have one of the sizes that exist."""
    return body.startswith(b"BM") and int.from_bytes(body[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _is_icon(body: bytes) -> bool:
    """Rows of integers begin like an icon as well, so the first picture must directly follow the directory."""
    return body.startswith(b"\x00\x00\x01\x00") and int.from_bytes(body[18:22], "little") == 6 + 16 * body[4]


_KINDS: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    (Kind("a PNG picture", "picture"), _starts(b"\x89PNG")),
    (Kind("a WebP picture", "picture"), _riff(b"WEBP")),
    (Kind("a GIF picture", "picture"), _starts(b"GIF87a", b"GIF89a")),
    (Kind("a TIFF picture", "picture"), _starts(b"II*\x00", b"MM\x00*")),
    (Kind("a BigTIFF picture", "picture"), _starts(b"II+\x00", b"MM\x00+")),
    (Kind("a BMP picture", "picture"), _is_bmp),
    (Kind("a HEIC picture", "picture"), _brand(b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim")),
    (Kind("an AVIF picture", "picture"), _brand(b"avif", b"avis")),
    (Kind("a JPEG 2000 picture", "picture"), _starts(b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")),
    (Kind("a JPEG XL picture", "picture"), _starts(b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")),
    (Kind("an OpenEXR picture", "picture"), _starts(b"\x76\x2f\x31\x01")),
    (Kind("a Photoshop document", "picture"), _starts(b"8BPS")),
    (Kind("an icon (ICO)", "picture"), _is_icon),
    (Kind("an SVG drawing", "picture"), lambda body: b"<svg" in body[:512].lower()),
    (Kind("a NIfTI scan", "scan"), _is_nifti),
    (Kind("a DICOM file", "scan"), lambda body: body[128:132] == b"DICM"),
    (Kind("an NRRD volume", "scan"), _starts(b"NRRD")),
    (Kind("an HDF5 or MINC file", "scan"), _starts(b"\x89HDF")),
    (Kind("a sound (WAV)", "sound"), _riff(b"WAVE")),
    (Kind("a sound (MP3)", "sound"), _starts(b"ID3")),
    (Kind("a sound (FLAC)", "sound"), _starts(b"fLaC")),
    (Kind("a sound (M4A)", "sound"), _brand(b"M4A ", b"M4B ")),
    (Kind("a ZIP archive", "archive"), _starts(b"PK\x03\x04")),
    (Kind("a 7z archive", "archive"), _starts(b"7z\xbc\xaf\x27\x1c")),
    (Kind("a RAR archive", "archive"), _starts(b"Rar!\x1a\x07")),
    (Kind("a tar archive", "archive"), lambda body: body[257:262] == b"ustar"),
    (Kind("a file packed with bzip2", "archive"), _starts(b"BZh")),
    (Kind("a file packed with xz", "archive"), _starts(b"\xfd7zXZ\x00")),
    (Kind("a file packed with Zstandard", "archive"), _starts(b"\x28\xb5\x2f\xfd")),
    (Kind("a PDF document", "document"), _starts(b"%PDF")),
    (Kind("a NumPy array", "data"), _starts(b"\x93NUMPY")),
    (Kind("an HTML page", "text"), lambda b: b.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html"))),
    (Kind("JSON text", "text"), lambda b: b.lstrip()[:2] in (b'{"', b"[{", b'["')),
)
