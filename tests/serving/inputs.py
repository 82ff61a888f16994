"""Uploads that a service must refuse, each with the status and words it must answer with."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np

from tests.bundles import make_scan


def nifti(voxels: np.ndarray) -> bytes:
    return bytes(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())


def _patched(offset: int, content: bytes) -> bytes:
    body = bytearray(nifti(np.zeros((4, 4), np.float32)))
    body[offset : offset + len(content)] = content
    return bytes(body)


def _rgb() -> bytes:
    voxels = np.zeros((4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nifti(voxels)


def gigantic() -> bytes:
    """A NIfTI-2 header that claims 100,000^3 voxels."""
    header = nib.Nifti2Header()
    header.set_data_shape((100_000, 100_000, 100_000))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+2", 544
    return bytes(header.binaryblock) + b"\0" * 4 + b"\0" * 1000


# name -> body, status, a part of what it says
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "not NIfTI": (b"this is a letter, not a scan. " * 40, 415, "not a NIfTI file"),
    "a JPEG": (b"\xff\xd8\xff\xe0" + b"\0" * 400, 415, "JPEG"),
    "truncated gzip": (make_scan(1)[:-200], 422, "ends too early"),
    "truncated plain": (gzip.decompress(make_scan(1))[:-200], 422, "ends after"),
    "damaged gzip": (make_scan(1)[:-8] + b"\xff" * 8, 422, "gzip"),
    "5-D": (nifti(np.zeros((3, 3, 3, 2, 2), np.float32)), 422, "5-D"),
    "zero-sized": (_patched(42, struct.pack("<h", 0)), 422, "no voxels"),
    "NaN": (nifti(np.full((4, 4), np.nan, np.float32)), 422, "NaN or infinite"),
    "infinite": (nifti(np.full((4, 4), np.inf, np.float32)), 422, "NaN or infinite"),
    "RGB": (_rgb(), 422, "RGB"),
    "gigantic header": (gigantic(), 413, "100000 x 100000 x 100000"),
    "empty body": (b"", 422, "empty"),
}
