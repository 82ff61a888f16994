"""Where a NIfTI file's voxels lie in space: sform, qform and pixdim, which often contradict each other.

The standard (nifti1.h) prefers none of the two transforms. What two of the three agree on is taken, else the sform;
what had to be decided or put right is a note of the answer, never a silent guess
(docs/decisions/0036-where-a-scan-lies.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from registry.core.errors import BadInput

Affine = NDArray[np.float64]
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # xyzt_units: metres, micrometres; everything else is taken as millimetres
_AGREE = 0.01  # of an edge: float32 quaternions and rounded spacings differ by less


def placed(header: Any, shape: tuple[int, int, int]) -> tuple[Affine, tuple[float, float, float], tuple[str, ...]]:
    """Voxel index to millimetres (float64 [4, 4]), the voxel's edges in millimetres, and notes.

    Raises:
        BadInput: the file gives voxels no place in space.
    """
    notes: list[str] = []
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is made a float64
        header = _with_usable_zooms(header, shape, notes)
        affine = _chosen(header, shape, notes)
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    x, y, z = (float(edge) for edge in _edges(affine))
    return affine, (x, y, z), tuple(notes)


def _with_usable_zooms(header: Any, shape: tuple[int, int, int], notes: list[str]) -> Any:
    """A copy with positive pixdim, as nibabel repairs them: the size of a negative one, 1 for one that is missing."""
    header = header.copy()
    stored = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if all(0 < edge < math.inf for edge in stored.tolist()) and header["pixdim"][0] in (-1, 1):
        return header
    if (stored < 0).any():
        notes.append("a negative pixdim was taken by its size")
    usable = np.isfinite(stored) & (stored != 0)
    header["pixdim"][1:4] = np.where(usable, np.abs(stored), 1.0)
    sform = _sform(header, shape)
    unknown = ~usable if sform is None else ~usable & ~_rows(header)[:, :3].any(axis=0)
    if unknown.any():
        axes = ", ".join("xyz"[n] for n in np.flatnonzero(unknown))
        notes.append(f"the voxel's edge along {axes} is not given and was taken as 1 mm")
    if header["pixdim"][0] not in (-1, 1):
        if int(header["qform_code"]) > 0 and sform is None:
            notes.append(f"qfac is {float(header['pixdim'][0]):g} and was taken as 1")
        header["pixdim"][0] = 1
    if not usable.all() and sform is not None:
        header["pixdim"][1:4] = np.where(usable, header["pixdim"][1:4], _edges(sform))
    return header


def _chosen(header: Any, shape: tuple[int, int, int], notes: list[str]) -> Affine:
    sform, qform = _sform(header, shape), _qform(header)
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if sform is not None:
        if (np.abs(_edges(sform) - zooms) <= _AGREE * zooms).all():
            return sform
        differ = f"the sform gives voxels of {_named(_edges(sform))}, pixdim {_named(zooms)}"
        if qform is None:
            notes.append(f"{differ}: the sform was taken")
            return sform
        notes.append(f"{differ}: the qform, which agrees with pixdim, was taken")
        return qform
    has_sform = int(header["sform_code"]) > 0
    if qform is not None:
        if has_sform:
            notes.append("the sform is unusable: the qform was taken")
        return qform
    if has_sform and np.any(_rows(header)):
        raise _nowhere(_fault(_rows(header)))
    if int(header["qform_code"]) > 0:
        raise _nowhere("the quaternion of its qform is not one")
    if has_sform:
        notes.append("the sform is all zeros: only the voxel's size is known, not how the scan lies")
    return np.asarray(header.get_base_affine(), dtype=np.float64).copy()


def _rows(header: Any) -> Affine:
    return np.asarray(header.get_sform(), dtype=np.float64)[:3]


def _sform(header: Any, shape: tuple[int, int, int]) -> Affine | None:
    if int(header["sform_code"]) <= 0:
        return None
    affine = np.asarray(header.get_sform(), dtype=np.float64).copy()
    if not np.isfinite(affine).all():
        return None
    empty = [n for n in range(3) if not affine[:3, n].any()]
    if len(empty) == 1 and shape[empty[0]] == 1:  # of a flat image the third axis may be left out
        first, second = (affine[:3, n] for n in range(3) if n != empty[0])
        normal = np.cross(first, second)
        length = float(np.linalg.norm(normal))
        if length:
            affine[:3, empty[0]] = normal / length * abs(float(header["pixdim"][1 + empty[0]]) or 1.0)
    return affine if _fault(affine) == "" else None


def _qform(header: Any) -> Affine | None:
    if int(header["qform_code"]) <= 0:
        return None
    try:
        affine = np.asarray(header.get_qform(), dtype=np.float64).copy()
    except (HeaderDataError, ValueError):
        return None
    return affine if _fault(affine) == "" else None


def _fault(affine: Affine) -> str:
    """What makes an affine unusable; empty: nothing."""
    if not np.isfinite(affine).all():
        return "it holds NaN or infinity"
    edges = _edges(affine)
    # Singular once the scale is taken out: an axis of length 0, or two axes that point the same way.
    if (edges == 0).any() or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-6:
        return "it cannot be inverted"
    return ""


def _edges(affine: Affine) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0), dtype=np.float64)


def _named(edges: NDArray[np.float64]) -> str:
    return " x ".join(f"{edge:.3g}" for edge in edges)


def _nowhere(why: str) -> BadInput:
    return BadInput(
        f"the affine in its header is unusable: {why}",
        expected="an sform or qform that gives each voxel a place in space",
        fix="set it anew, for example with nibabel's set_sform, and send the file again",
    )
