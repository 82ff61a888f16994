"""Tells whether a JPEG without its end-of-image marker lacks only these two bytes, or pixels as well.

Some cameras and network programs do not write the marker. libjpeg fills missing pixels with grey and warns, but neither
OpenCV nor PIL passes the warning on. So the file is decoded with bits appended: they change the picture if, and only
if, the decoder still needed some.
"""

from __future__ import annotations

import io

from PIL.JpegImagePlugin import JpegImageFile

_END = b"\xff\xd9"
_FILLINGS = (b"\x55" * 512, b"\xaa" * 512, b"\x13\xc6\x7a" * 170)


def with_end_marker(body: bytes, scan: int) -> bytes | None:
    """`body` with its end marker, or None if pixels are missing. Costs five decodes: check the size first.

    Args:
        scan: offset of the first scan's data.
    """
    coded = _without_padding(body)
    if len(coded) <= scan or not _every_bit_has_its_scan(coded):
        return None
    fillings = (*_FILLINGS, _next_restart(coded, scan) + _FILLINGS[0])
    picture = _decoded(coded + _END)
    whole = picture is not None and all(_decoded(coded + filling + _END) == picture for filling in fillings)
    return coded + _END if whole else None


def _next_restart(coded: bytes, scan: int) -> bytes:
    """The restart marker that would come next. Where one is due, a decoder skips everything else."""
    last = max((coded.rfind(bytes((0xFF, 0xD0 + n)), scan), n) for n in range(8))
    return bytes((0xFF, 0xD0 + (last[1] + 1) % 8)) if last[0] >= 0 else b"\xff\xd0"


def _without_padding(body: bytes) -> bytes:
    """Cuts off zeros that fill a disk block, and half a marker. One zero may belong to an escaped FF."""
    cut = body.rstrip(b"\0")
    coded = body if len(body) - len(cut) == 1 and cut.endswith(b"\xff") else cut
    return coded[:-1] if coded.endswith(b"\xff") else coded


def _decoded(body: bytes) -> bytes | None:
    """Pixels by PIL: it reads all kinds of JPEG, and does not write warnings to standard error."""
    try:
        return JpegImageFile(io.BytesIO(body)).tobytes()
    except Exception:  # hostile bytes can make PIL raise anything
        return None


def _every_bit_has_its_scan(body: bytes) -> bool:
    """Whether the scans have every component and, in a progressive picture (ITU T.81, G.1), every bit of every
    coefficient. A file may end exactly between two scans."""
    components: list[int] = []
    last_bit: dict[tuple[int, int], int] = {}
    at = 2
    while at + 4 <= len(body):
        if body[at] != 0xFF or body[at + 1] in (0x00, 0xFF) or 0xD0 <= body[at + 1] <= 0xD8:
            at = body.find(b"\xff", at + 1)
            if at < 0:
                break
            continue
        kind, length = body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        segment = body[at + 4 : at + 2 + length]
        if at + 2 + length > len(body):
            return False
        if kind in (0xC0, 0xC1, 0xC2):
            components = list(segment[6::3])
        elif kind == 0xDA and len(segment) > 3:
            first, last, bits = segment[-3:]
            for component in segment[1:-3:2]:
                for coefficient in range(first, min(last, 63) + 1):
                    last_bit[component, coefficient] = bits & 0x0F
        at += 2 + length
    return bool(components) and all(last_bit.get((one, n), 1) == 0 for one in components for n in range(64))
