"""What a file is, by its first bytes, and whether a model takes it. The service decides again when it decodes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, TooLarge
from registry.core.settings import settings
from registry.vision import media_types
from registry.vision.beginnings import begins_like_a_picture, upright_size
from registry.vision.foreign_files import recognise, wrong_kind
from serving.runs.models import Kind

START_BYTES = 1 << 16
"""How many first bytes are looked at."""
NIFTI = "application/x-nifti"
_PICTURES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".bmp": "image/bmp",
}
_VIDEOS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".ogv": "video/ogg",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".mjpeg": "video/x-motion-jpeg",
}
EXPECTED = {
    Kind.PICTURE: "a picture (JPEG, PNG, WebP, BMP, TIFF or GIF)",
    Kind.VIDEO: "a video (MP4, MOV, WebM, ...)",
    Kind.SCAN: "a scan (NIfTI: .nii.gz or .nii)",
}


@dataclass(frozen=True)
class Found:
    """What a file is: its kind (of `Kind`), and its content type."""

    kind: str
    media: str


def kinds_of(spec: ModelSpec) -> tuple[str, ...]:
    """What a model takes."""
    taken = {
        Kind.PICTURE: "image/jpeg" in spec.media_in,
        Kind.VIDEO: any(one.startswith("video/") for one in spec.media_in),
        Kind.SCAN: NIFTI in spec.media_in,
    }
    return tuple(kind for kind, yes in taken.items() if yes)


def check(spec: ModelSpec, start: bytes, size: int) -> Found:
    """What a file of `size` bytes that begins with `start` is.

    Raises:
        TooLarge: more bytes or pixels than the settings allow.
        UnsupportedMedia, BadInput: nothing that the model takes; says what it is instead.
    """
    most = settings().max_upload_mb
    if size > most * 2**20:
        raise TooLarge(
            f"the file has {size / 2**20:,.0f} MB", expected=f"at most {most:,} MB", fix="send a smaller or shorter one"
        )
    taken = kinds_of(spec)
    found = _recognised(start) if size else None
    if found is None or found.kind not in taken:
        raise _refused(start, taken)
    if found.kind == Kind.PICTURE:
        _check_pixels(start)
    return found


def _recognised(start: bytes) -> Found | None:
    kind = recognise(start)
    if kind is not None and kind.name == "a NIfTI scan":
        return Found(Kind.SCAN, "application/gzip" if start.startswith(b"\x1f\x8b") else NIFTI)
    container = media_types.container(start)
    if container is not None:
        return Found(Kind.VIDEO, _VIDEOS.get(container.extension, "video/mp4"))
    if begins_like_a_picture(start):
        return Found(Kind.PICTURE, _PICTURES.get(media_types.extension_of(start), "image/jpeg"))
    return None


def _refused(start: bytes, taken: Sequence[str]) -> BadInput:
    expected = " or ".join(EXPECTED[kind] for kind in taken)
    return wrong_kind(start, wanted=" or ".join(f"a {kind}" for kind in taken), expected=expected)


def _check_pixels(start: bytes) -> None:
    size = upright_size(start)
    most = settings().max_voxels
    if size is not None and size[0] * size[1] > most:
        raise TooLarge(
            f"the picture has {size[0]:,} x {size[1]:,} pixels",
            expected=f"at most {most / 1e6:,.0f} million pixels",
            fix="make it smaller, and send it again",
        )
