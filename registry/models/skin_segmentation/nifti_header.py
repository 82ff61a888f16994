"""What a NIfTI file's header says, checked before any memory is taken for voxels."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.models.skin_segmentation import placement
from registry.vision import foreign_files

HEADER_BYTES = {348: 1, 540: 2}
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
_FIX: Mapping[foreign_files.Group, str] = {
    "picture": "send the scan that it was made from, as NIfTI: grey levels alone do not say how large a voxel is",
    "archive": "unpack it and send the .nii file in it",
    "scan": "convert it to NIfTI, for example with 3D Slicer or SimpleITK",
    "data": "save it as NIfTI, with the affine that says where its voxels lie",
    "encoded": foreign_files.DECODE_FIX,
}
_FIX_OF: Mapping[str, str] = {
    "a DICOM file": "convert the whole series with dcm2niix",
    "an HDF5 or MINC file": "convert it to NIfTI, for example with mnc2nii",
}
_SEND_A_SCAN = "send a scan, as NIfTI"
_UNKNOWN = (
    "an .img file is one half of a pair: send it and its .hdr as one .nii file; DICOM is converted with dcm2niix, "
    "other formats with the program that wrote them"
)
EXPECTED = "a NIfTI scan (NIfTI-1 or NIfTI-2, .nii or .nii.gz)"


@dataclass(frozen=True)
class Head:
    """Where the voxels lie in the file, and where in space.

    Attributes:
        shape: [X, Y, Z]; Z is 1 of a 2-D image.
        ndim: 2 or 3; dimensions of one voxel after the third count for nothing.
        offset: of the first voxel, bytes.
        affine, spacing, notes: as `registry.core.media.Volume`.
    """

    shape: tuple[int, int, int]
    ndim: int
    dtype: np.dtype[Any]
    offset: int
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    notes: tuple[str, ...]
    header: Any

    @property
    def voxels(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def end(self) -> int:
        """Bytes from the beginning of the file to the end of the last voxel."""
        return self.offset + self.voxels * self.dtype.itemsize

    @property
    def size(self) -> str:
        return " x ".join(map(str, self.shape[: self.ndim]))


def parse(start: bytes, max_voxels: int) -> Head:
    """The first `foreign_files.PEEKED` bytes of a file, unpacked (or all it has).

    Raises:
        BadInput, UnsupportedMedia, TooLarge: as `nifti.read`.
    """
    kind, order = _recognise(start)
    header_class = nib.Nifti1Header if kind == 1 else nib.Nifti2Header
    header = header_class(start[: 348 if kind == 1 else 540], endianness=order, check=False)
    stored = _shape(header)
    voxels = math.prod(stored)
    if voxels > max_voxels:
        raise TooLarge(
            f"its header claims {' x '.join(map(str, stored))} = {voxels:,} voxels",
            expected=f"at most {max_voxels:,} voxels",
            fix="crop or resample the volume",
        )
    code = int(header["datatype"])
    if code not in _CODES:
        raise BadInput(
            f"its voxels are {_KINDS.get(code, f'of the unknown data type {code}')}",
            expected=f"one number a voxel: {SCALARS}",
            fix="export one channel (or the magnitude) as a scalar NIfTI",
        )
    offset = float(header["vox_offset"])
    least = 348 if kind == 1 else 540
    if not least <= offset <= MAX_OFFSET:
        raise BadInput(
            f"its header says that the voxels begin at byte {offset:g}",
            expected=f"between {least} and {MAX_OFFSET:,}",
            fix="write the file again with a NIfTI library",
        )
    x, y, z = (*stored, 1)[:3]
    affine, spacing, notes = placement.placed(header, (x, y, z))
    return Head((x, y, z), len(stored), header.get_data_dtype(), int(offset), affine, spacing, notes, header)


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
                fix="copy or download the file again: it was cut off",
            )
        if magic[:3] in (b"n+1", b"n+2"):
            return kind, order
        found = "the header half of a .hdr/.img pair" if magic[:2] == b"ni" else "an Analyze 7.5 header"
        raise UnsupportedMedia(
            f"the file is {found}",
            expected="a single-file NIfTI (.nii or .nii.gz)",
            fix="send the .hdr and its .img as one .nii file; nibabel, FSL and dcm2niix convert such pairs",
        )
    known = foreign_files.recognise(start)
    if known is not None:
        fix = _FIX_OF.get(known.name) or _FIX.get(known.group, _SEND_A_SCAN)
        raise UnsupportedMedia(f"the file is {known.name}", expected=EXPECTED, fix=fix)
    raise UnsupportedMedia(
        "the file is not a NIfTI file (no NIfTI header at its start)",
        expected=EXPECTED,
        fix=_SEND_A_SCAN if _is_text(start) else _UNKNOWN,
    )


def _is_text(start: bytes) -> bool:
    try:
        return start[:512].decode("utf-8", "strict").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    except UnicodeDecodeError:
        return False


def _shape(header: Any) -> tuple[int, ...]:
    dim = [int(n) for n in header["dim"]]
    count, sizes = dim[0], dim[1:]
    if not 1 <= count <= 7:
        raise BadInput(
            f"its header says it has {count} dimensions",
            expected="2 or 3",
            fix="write the file again with a NIfTI library",
        )
    shape = tuple(sizes[:count])
    told = " x ".join(map(str, shape))
    if any(n <= 0 for n in shape):
        raise BadInput(f"it has no voxels: its size is {told}", expected="at least one voxel on each axis",
                       fix="export the image again")  # fmt: skip
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 3:
        frames = f", {shape[3]} frames" if count == 4 else ""
        raise BadInput(f"the image is {count}-D ({told}{frames})", expected="a 2-D or 3-D image",
                       fix="split it and send one volume at a time")  # fmt: skip
    return shape
