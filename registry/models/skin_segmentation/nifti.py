"""NIfTI files as bytes: read with every check before memory is taken, written with the input's own header.

The format: NIfTI-1 (nifti.nimh.nih.gov/nifti-1) and NIfTI-2 (nifti-2), single file, plain or gzipped. nibabel parses
and writes headers; the voxels are read here, because nibabel's file path trusts the header's sizes.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from registry.errors import BadInput, TooLarge, UnsupportedMedia
from registry.media import ByteArray, Volume

GZIP = b"\x1f\x8b"
HEADER_BYTES = {348: 1, 540: 2}
MAX_PADDING = 1 << 20
MAX_OFFSET = 16 * 2**20  # header extensions before the voxels; real ones take some kilobytes
SCALARS = "uint8, int8, int16, uint16, int32, uint32, int64, uint64, float32 or float64"
_CODES = {2, 256, 4, 512, 8, 768, 1024, 1280, 16, 64}
_KINDS = {
    1: "1-bit",
    32: "complex64",
    128: "RGB",
    1536: "float128",
    1792: "complex128",
    2048: "complex256",
    2304: "RGBA",
}
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # xyzt_units: metres, micrometres; everything else is taken as millimetres
_KNOWN = (
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"NRRD", "an NRRD volume"),
    (128, b"DICM", "a DICOM file"),
)


@dataclass(frozen=True)
class _Layout:
    """Where the voxels lie in the file: what the header says, checked."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    header: Any

    @property
    def end(self) -> int:
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read(body: bytes, max_voxels: int) -> Volume:
    """Reads a scan.

    Raises:
        BadInput: empty, truncated, not 2-D or 3-D, without voxels, not scalar, not finite, or placed nowhere in space.
        UnsupportedMedia: not a single-file NIfTI at all.
        TooLarge: more than `max_voxels`; found from the header, before any memory is taken.
    """
    if not body:
        raise BadInput(
            "the file is empty (0 bytes)", expected="a NIfTI file (.nii or .nii.gz)", mend="send the file's bytes"
        )
    stream = _Stream(body)
    layout = _layout(stream.read_to(540)[:540], max_voxels)
    raw = stream.read_to(layout.end)
    stream.finish()
    if len(raw) < layout.end:
        raise BadInput(
            f"the file ends after {len(raw):,} of {layout.end:,} bytes",
            expected=f"{' x '.join(map(str, layout.shape))} voxels of {layout.dtype.name}, as its header says",
            mend="copy or download the file again: it was cut off",
        )
    return _volume(layout, raw)


class _Stream:
    """The file's bytes, unpacked no further than asked for: a gzip bomb costs nothing."""

    def __init__(self, body: bytes) -> None:
        self._have = body
        self._source = None
        if body[:2] == GZIP:
            self._have, self._source = b"", gzip.GzipFile(fileobj=io.BytesIO(body))

    def read_to(self, end: int) -> bytes:
        """At least the first `end` bytes, or all there are."""
        self._unpack(end - len(self._have))
        return self._have

    def finish(self) -> None:
        """Goes to the end of the gzip data, where its checksum is compared; some padding is allowed."""
        before = len(self._have)
        self._unpack(MAX_PADDING + 1)
        if self._source is not None and len(self._have) - before > MAX_PADDING:
            raise BadInput(
                "the file holds far more data than its header says",
                expected=f"the voxels, and at most {MAX_PADDING:,} bytes after them",
                mend="copy or download the file again: header or data are damaged",
            )

    def _unpack(self, count: int) -> None:
        if self._source is None or count <= 0:
            return
        try:
            more = self._source.read(count)
        except EOFError as error:
            raise BadInput(
                "the gzip data ends too early",
                expected="a whole .nii.gz file",
                mend="copy or download the file again: it was cut off",
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(
                f"the gzip data is damaged: {error}",
                expected="a whole .nii.gz file",
                mend="copy or download the file again, or compress it anew",
            ) from error
        self._have = self._have + more if self._have else more


def _layout(start: bytes, max_voxels: int) -> _Layout:
    kind, order = _recognise(start)
    header_class = nib.Nifti1Header if kind == 1 else nib.Nifti2Header
    header = header_class(start[: 348 if kind == 1 else 540], endianness=order, check=False)
    shape = _shape(header)
    voxels = int(np.prod(shape, dtype=object))
    if voxels > max_voxels:
        raise TooLarge(
            f"its header claims {' x '.join(map(str, shape))} = {voxels:,} voxels",
            expected=f"at most {max_voxels:,} voxels",
            mend="crop or resample the volume, or raise max_voxels (VISIONLOOP_MAX_VOXELS)",
        )
    code = int(header["datatype"])
    if code not in _CODES:
        raise BadInput(
            f"its voxels are {_KINDS.get(code, f'of the unknown data type {code}')}",
            expected=f"one number a voxel: {SCALARS}",
            mend="export one channel (or the magnitude) as a scalar NIfTI",
        )
    offset = float(header["vox_offset"])
    least = 348 if kind == 1 else 540
    if not least <= offset <= MAX_OFFSET:
        raise BadInput(
            f"its header says that the voxels begin at byte {offset:g}",
            expected=f"between {least} and {MAX_OFFSET:,}",
            mend="write the file again with a NIfTI library",
        )
    return _Layout(shape, header.get_data_dtype(), int(offset), header)


def _recognise(start: bytes) -> tuple[int, str]:
    """NIfTI version (1 or 2) and byte order of a header."""
    for order in "<>":
        size = struct.unpack(f"{order}i", start[:4])[0] if len(start) >= 4 else 0
        kind = HEADER_BYTES.get(size)
        if kind is None:
            continue
        magic = start[344:348] if kind == 1 else start[4:8]
        if len(start) < size:
            raise BadInput(
                f"the file ends after {len(start)} bytes, within its header",
                expected=f"a NIfTI-{kind} header of {size} bytes and the voxels",
                mend="copy or download the file again: it was cut off",
            )
        if magic[:3] in (b"n+1", b"n+2"):
            return kind, order
        found = "the header half of a .hdr/.img pair" if magic[:2] == b"ni" else "an Analyze 7.5 header"
        raise UnsupportedMedia(
            f"this is {found}",
            expected="a single-file NIfTI (.nii or .nii.gz)",
            mend="convert the pair to one .nii file",
        )
    found = next((name for at, mark, name in _KNOWN if start[at : at + len(mark)] == mark), "not a NIfTI file")
    raise UnsupportedMedia(
        f"this is {found}" if found.startswith("a") else "this is not a NIfTI file (no NIfTI header at its start)",
        expected="NIfTI-1 or NIfTI-2, .nii or .nii.gz",
        mend="convert it first, for example DICOM with dcm2niix",
    )


def _shape(header: Any) -> tuple[int, ...]:
    dim = [int(n) for n in header["dim"]]
    count, sizes = dim[0], dim[1:]
    if not 1 <= count <= 7:
        raise BadInput(
            f"its header says it has {count} dimensions",
            expected="2 or 3",
            mend="write the file again with a NIfTI library",
        )
    shape = tuple(sizes[:count])
    told = " x ".join(map(str, shape))
    if any(n <= 0 for n in shape):
        raise BadInput(f"it has no voxels: its size is {told}", expected="at least one voxel on each axis",
                       mend="export the image again")  # fmt: skip
    if count == 4 and shape[3] == 1:
        return shape[:3]
    if count == 1 or count > 3:
        frames = f", {shape[3]} frames" if count == 4 else ""
        raise BadInput(f"the image is {count}-D ({told}{frames})", expected="a 2-D or 3-D image",
                       mend="split it and send one volume at a time")  # fmt: skip
    return shape


def _volume(layout: _Layout, raw: bytes) -> Volume:
    header = layout.header
    stored = np.frombuffer(raw, dtype=layout.dtype, count=int(np.prod(layout.shape)), offset=layout.offset)
    slope, intercept = _scaling(header)
    with np.errstate(over="ignore"):
        if (slope, intercept) == (1.0, 0.0):
            voxels = stored.astype(np.float32)
        else:
            voxels = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    bad = voxels.size - np.count_nonzero(np.isfinite(voxels)) if layout.dtype.kind == "f" or slope != 1.0 else 0
    if bad:
        raise BadInput(
            f"{bad:,} of {voxels.size:,} voxels are NaN or infinite",
            expected="finite intensities (32-bit range)",
            mend="replace them, for example with the background value, and send it again",
        )
    affine = _affine(header)
    unit = _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    ndim = len(layout.shape)
    shape = (*layout.shape, 1) if ndim == 2 else layout.shape
    affine[:3] *= unit
    return Volume(
        voxels=voxels.reshape(shape, order="F"),
        affine=affine,
        spacing=_spacing(header, affine, unit),
        ndim=ndim,
        header=header,
    )


def _scaling(header: Any) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # NIfTI: then the voxels are stored as they are
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _affine(header: Any) -> NDArray[np.float64]:
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64).copy()
    except (HeaderDataError, ValueError) as error:
        raise _nowhere(str(error)) from error
    if not np.isfinite(affine).all():
        raise _nowhere("it holds NaN or infinity")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    # Singular once the scale is taken out: an axis of length 0, or two axes that point the same way.
    if (edges == 0).any() or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-6:
        raise _nowhere("it cannot be inverted")
    return affine


def _nowhere(why: str) -> BadInput:
    return BadInput(
        f"the affine in its header is unusable: {why}",
        expected="an sform or qform that gives each voxel a place in space",
        mend="set it anew, for example with nibabel's set_sform, and send the file again",
    )


def _spacing(header: Any, affine: NDArray[np.float64], unit: float) -> tuple[float, float, float]:
    stored = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * unit
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = np.where(np.isfinite(stored) & (stored > 0), stored, edges)
    return float(x), float(y), float(z)


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


@lru_cache(maxsize=1)
def _gzip_header() -> bytes:
    return GZIP + b"\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, system unknown


def _store(content: bytes) -> bytes:
    """gzip without compression (RFC 1951, 3.2.4: stored blocks).

    zlib, zlib-ng and the vendors' forks compress to different bytes; stored blocks are the same everywhere, so that
    starter data made on any machine hashes to what `data.dvc` says.
    """
    parts = [_gzip_header()]
    for at in range(0, max(len(content), 1), 65535):
        block = content[at : at + 65535]
        last = at + 65535 >= len(content)
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)
