"""NIfTI files as bytes: read with every check before memory is taken, written with the input's own header.

The format: NIfTI-1 (nifti.nimh.nih.gov/nifti-1) and NIfTI-2 (nifti-2), single file, plain or gzipped. nibabel parses
and writes headers; the voxels are read here, block by block, because nibabel's file path trusts the header's sizes.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Volume
from registry.models.skin_segmentation import nifti_header
from registry.models.skin_segmentation.nifti_header import Head
from registry.vision.foreign_files import PEEKED

GZIP = b"\x1f\x8b"
MAX_PADDING = 1 << 20
BLOCK = 1 << 20  # voxels that are unpacked and converted at a time


def head(body: bytes, max_voxels: int) -> Head:
    """What the header says. `body` may be the beginning of a file, of 64 KiB or more. Raises as `read`."""
    return nifti_header.parse(_Stream(_there(body)).peek(), max_voxels)


def read(body: bytes, max_voxels: int) -> Volume:
    """Reads a scan, in the memory of its voxels as float32 and little more.

    Raises:
        BadInput: empty, truncated, not 2-D or 3-D, without voxels, not scalar, not finite, or placed nowhere in space.
        UnsupportedMedia: not a single-file NIfTI at all.
        TooLarge: more than `max_voxels`; found from the header, before any memory is taken.
    """
    stream = _Stream(_there(body))
    found = nifti_header.parse(stream.peek(), max_voxels)
    voxels = np.empty(found.voxels, dtype=np.float32)
    bad = at = 0
    for block in _blocks(stream, found):
        voxels[at : at + len(block)] = block
        at += len(block)
        bad += len(block) - int(np.count_nonzero(np.isfinite(block)))
    if bad:
        raise BadInput(
            f"{bad:,} of {found.voxels:,} voxels are NaN or infinite",
            expected="finite intensities (32-bit range)",
            fix="replace them, for example with the background value, and send it again",
        )
    return Volume(
        voxels=voxels.reshape(found.shape, order="F"),
        affine=found.affine,
        spacing=found.spacing,
        ndim=found.ndim,
        header=found.header,
        notes=found.notes,
    )


def values(body: bytes, max_voxels: int) -> Iterator[FloatArray]:
    """The voxels in the order of the file, as float32 [n] of at most `BLOCK` each. Raises as `read`, but for NaN."""
    stream = _Stream(_there(body))
    yield from _blocks(stream, nifti_header.parse(stream.peek(), max_voxels))


def _there(body: bytes) -> bytes:
    if not body:
        raise BadInput("the file is empty (0 bytes)", expected=nifti_header.EXPECTED, fix="send the file's bytes")
    return body


def _blocks(stream: _Stream, found: Head) -> Iterator[FloatArray]:
    slope, intercept = _scaling(found.header)
    plain = (slope, intercept) == (1.0, 0.0)
    if stream.size is not None and stream.size < found.end:
        raise _cut_off(stream.size, found)
    stream.read(found.offset)
    for at in range(0, found.voxels, BLOCK):
        count = min(BLOCK, found.voxels - at)
        raw = stream.read(count * found.dtype.itemsize)
        if len(raw) < count * found.dtype.itemsize:
            raise _cut_off(found.offset + at * found.dtype.itemsize + len(raw), found)
        stored = np.frombuffer(raw, dtype=found.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if plain:
                yield stored.astype(np.float32)
            else:
                yield (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    stream.finish()


def _cut_off(size: int, found: Head) -> BadInput:
    return BadInput(
        f"the file ends after {size:,} of {found.end:,} bytes",
        expected=f"{found.size} voxels of {found.dtype.name}, as its header says",
        fix="copy or download the file again: it was cut off",
    )


class _Stream:
    """The file's bytes, unpacked no further than asked for: a gzip bomb costs nothing.

    Attributes:
        size: of a file that is not packed, bytes; None of others.
    """

    def __init__(self, body: bytes) -> None:
        packed = body[:2] == GZIP
        self.size = None if packed else len(body)
        self._source: Any = gzip.GzipFile(fileobj=io.BytesIO(body)) if packed else io.BytesIO(body)
        self._peeked = b""

    def peek(self) -> bytes:
        """The first bytes, or all there are: those of a header, and what tells another kind of file. `read` gives them
        again."""
        self._peeked = self._unpacked(PEEKED)
        return self._peeked

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or all there are."""
        start, self._peeked = self._peeked[:count], self._peeked[count:]
        rest = self._unpacked(count - len(start)) if count > len(start) else b""
        return start + rest if start else rest

    def finish(self) -> None:
        """Goes to the end of the gzip data, where its checksum is compared; some padding is allowed."""
        if len(self.read(MAX_PADDING + 1)) > MAX_PADDING and self.size is None:
            raise BadInput(
                "the file holds far more data than its header says",
                expected=f"the voxels, and at most {MAX_PADDING:,} bytes after them",
                fix="copy or download the file again: header or data are damaged",
            )

    def _unpacked(self, count: int) -> bytes:
        try:
            return bytes(self._source.read(count))
        except EOFError as error:
            raise BadInput(
                "the gzip data ends too early",
                expected="a whole .nii.gz file",
                fix="copy or download the file again: it was cut off",
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(
                f"the gzip data is damaged: {error}",
                expected="a whole .nii.gz file",
                fix="copy or download the file again, or compress it anew",
            ) from error


def _scaling(header: Any) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # NIfTI: then the voxels are stored as they are
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def write_mask(mask: ByteArray, volume: Volume) -> bytes:
    """`mask` (uint8 [X, Y, Z]) as .nii.gz with the affine, the codes and the dimensions of `volume`'s own header."""
    header = _reshaped(volume)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 1
    return gzip.compress(_file(header, mask), compresslevel=4, mtime=0)


def write_like(voxels: NDArray[np.floating[Any]], volume: Volume, packed: bool) -> bytes:
    """`voxels` ([X, Y, Z], scaled intensities) in the data type and scaling of `volume`'s header."""
    header = _reshaped(volume)
    slope, intercept = _scaling(header)
    stored = (np.asarray(voxels, dtype=np.float64) - intercept) / slope
    dtype = header.get_data_dtype()
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        stored = np.clip(np.rint(stored), limits.min, limits.max)
    content = _file(header, stored.astype(dtype))
    return gzip.compress(content, compresslevel=1, mtime=0) if packed else content


def write_new(voxels: NDArray[Any], affine: NDArray[np.float64], ndim: int) -> bytes:
    """A new .nii.gz; the same bytes on every machine."""
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape(voxels.shape[:ndim])
    header.set_data_dtype(voxels.dtype)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    header["pixdim"][1:4] = edges
    header.set_sform(affine, code=1)
    return _store(_file(header, voxels))


def _reshaped(volume: Volume) -> Any:
    """A copy of the volume's header, 2-D or 3-D. nibabel would set the slice thickness of a 2-D image to 1."""
    header = volume.header.copy()
    edges = header["pixdim"].copy()
    header.set_data_shape(volume.voxels.shape[: volume.ndim])
    header["pixdim"] = edges
    return header


def _file(header: Any, voxels: NDArray[Any]) -> bytes:
    size = 348 if isinstance(header, nib.Nifti1Header) and not isinstance(header, nib.Nifti2Header) else 540
    header["vox_offset"] = size + 4
    header["magic"] = b"n+1" if size == 348 else b"n+2"
    return bytes(header.binaryblock) + b"\0\0\0\0" + voxels.tobytes(order="F")


def _store(content: bytes) -> bytes:
    """gzip without compression (RFC 1951, 3.2.4: stored blocks).

    zlib, zlib-ng and the vendors' forks compress to different bytes; stored blocks are the same everywhere, so that
    starter data made on any machine hashes to what `data.dvc` says.
    """
    parts = [GZIP + b"\x08\x00\x00\x00\x00\x00\x00\xff"]  # deflate, no flags, no time, system unknown
    for at in range(0, max(len(content), 1), 65535):
        block = content[at : at + 65535]
        last = at + 65535 >= len(content)
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)
