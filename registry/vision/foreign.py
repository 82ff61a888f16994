"""Files that are no pictures, by name: what somebody sent who meant to send one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry.errors import BadInput, UnsupportedMedia
from registry.vision.media_types import container

EXPECTED = "a JPEG, PNG, WebP, BMP, TIFF or GIF picture"


def foreign(body: bytes, wanted: str = "a picture", expected: str = EXPECTED) -> BadInput:
    """The error for a file that does not begin like a picture: names what it is, where that is known."""
    if not body:
        return BadInput("the file is empty", expected=expected, mend="choose the file again")
    kind = container(body)
    if kind is not None:
        mend = "send a picture, e.g. one frame of it, or choose a model that takes videos"
        return UnsupportedMedia(f"the file is a video ({kind.title})", expected=expected, mend=mend)
    name = next((name for name, is_it in _FOREIGN.items() if is_it(body)), "")
    if name:
        return UnsupportedMedia(f"the file is {name}", expected=expected, mend="convert it to JPEG or PNG")
    return BadInput(
        f"the file is not {wanted}: it begins with {body[:8]!r}", expected=expected, mend=f"choose {wanted}"
    )


_FOREIGN: Mapping[str, Callable[[bytes], bool]] = {
    "a PDF document": lambda b: b.startswith(b"%PDF"),
    "a HEIC picture": lambda b: b[4:8] == b"ftyp" and b[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim"),
    "an AVIF picture": lambda b: b[4:8] == b"ftyp" and b[8:12] in (b"avif", b"avis"),
    "a sound (WAV)": lambda b: b.startswith(b"RIFF") and b[8:12] == b"WAVE",
    "a JPEG 2000 picture": lambda b: b.startswith((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")),
    "a JPEG XL picture": lambda b: b.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")),
    "a Photoshop document": lambda b: b.startswith(b"8BPS"),
    "an icon (ICO)": lambda b: b.startswith(b"\x00\x00\x01\x00") and 0 < b[4] < 64 and b[5:6] == b"\x00",
    "a BigTIFF picture": lambda b: b.startswith((b"II+\x00", b"MM\x00+")),
    "a ZIP archive": lambda b: b.startswith(b"PK\x03\x04"),
    "a gzip file": lambda b: b.startswith(b"\x1f\x8b"),
    "an SVG drawing": lambda b: b"<svg" in b[:512].lower(),
    "an HTML page": lambda b: b.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")),
    "JSON text": lambda b: b.lstrip()[:2] in (b'{"', b"[{", b'["'),
}
