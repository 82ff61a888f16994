"""The table that Great Expectations checks for a data set of scans, and what must hold of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from registry.cases import expectations, groups
from registry.cases.records import Check
from registry.cases.splits import SPLITS
from registry.cases.table import Row
from registry.core.errors import BadInput
from registry.core.media import MAX_CASE_VOXELS, Volume
from registry.models.skin_segmentation import nifti

IMAGE, MASK = "image.nii.gz", "mask.nii.gz"


def inspect(root: Path, rows: Sequence[Row]) -> pd.DataFrame:
    """One row per case of the table (`rows`), and one per case folder that the table does not know."""
    listed = {(row.split, row.case): row for row in rows}
    stray = sorted(
        (split, path.name)
        for split in SPLITS
        if (root / split).is_dir()
        for path in (root / split).iterdir()
        if path.is_dir() and (split, path.name) not in listed
    )
    found = [
        {"case": case, "row": float(number), "split": split, "origin": row.origin, "group": row.group}
        for number, ((split, case), row) in enumerate(listed.items(), start=1)
    ]
    nan = float("nan")
    found += [{"case": case, "row": nan, "split": split, "origin": "", "group": ""} for split, case in stray]
    table = pd.DataFrame([{**row, **_measured(root / str(row["split"]) / str(row["case"]))} for row in found])
    if len(table):
        table["folder"] = table["split"]
        table["group_parts"] = groups.parts_of(table["split"].tolist(), table["group"].tolist())
    return table


def _measured(folder: Path) -> dict[str, object]:
    """Of a case's two files. Lengths in millimetres; `affine_gap`: how far the mask lies from its image, in voxels."""
    image, image_error = try_read(folder / IMAGE)
    mask, mask_error = try_read(folder / MASK)
    nan = float("nan")
    row: dict[str, object] = {"image_error": image_error or None, "mask_error": mask_error or None}
    row |= {"shape": _shape(image), "mask_shape": _shape(mask)}
    row |= {"smallest_spacing_mm": nan, "largest_spacing_mm": nan, "range": nan, "content": None}
    row |= {"foreground_share": nan, "mask_values": None, "affine_gap": nan}
    if image is not None:
        row |= {"range": float(np.ptp(image.voxels)), "content": content_of(image)}
        row |= {"smallest_spacing_mm": min(image.spacing), "largest_spacing_mm": max(image.spacing)}
    if mask is not None:
        row["foreground_share"] = float((mask.voxels != 0).mean())
        row["mask_values"] = " ".join(f"{value:g}" for value in np.unique(mask.voxels)[:5])
    if image is not None and mask is not None:
        row["affine_gap"] = float(np.abs(image.affine - mask.affine).max() / max(1.0, *image.spacing))
    return row


def _shape(volume: Volume | None) -> str | None:
    return None if volume is None else " x ".join(map(str, volume.voxels.shape))


def try_read(path: Path) -> tuple[Volume | None, str]:
    try:
        return nifti.read(path.read_bytes(), MAX_CASE_VOXELS), ""
    except OSError:
        return None, f"{path.name} is missing or unreadable"
    except BadInput as error:
        return None, f"{path.name}: {error.found}"


def content_of(volume: Volume) -> str:
    return hashlib.sha256(str(volume.voxels.shape).encode() + volume.voxels.tobytes(order="F")).hexdigest()[:16]


def checks() -> Sequence[Check]:
    """What must hold of `inspect`'s table."""
    return (
        *expectations.for_parts("skin_segmentation"),
        expectations.empty("image_error", "{rows}: image.nii.gz is missing or is no finite 2-D or 3-D NIfTI",
                           "export these images again, or remove the cases"),
        expectations.empty("mask_error", "{rows}: mask.nii.gz is missing or is no finite 2-D or 3-D NIfTI",
                           "export these masks again, or remove the cases"),
        Check("expect_column_pair_values_to_be_equal",
              {"column_A": "shape", "column_B": "mask_shape", "ignore_row_if": "either_value_is_missing"},
              "{rows}: image and mask have different shapes", "draw the mask on the image's own grid"),
        # Half a hundredth of a voxel: qform-only files differ by their quaternion's float32 rounding.
        expectations.between("affine_gap",
                             "{rows}: image and mask lie at different places in space (their affines differ)",
                             "resample the mask to the image, or copy the image's affine if only the header is wrong",
                             max_value=0.005),
        expectations.between("smallest_spacing_mm", "{rows}: voxels of less than 0.01 mm",
                             "correct the spacing in the header: is it in metres?", min_value=0.01),
        expectations.between("largest_spacing_mm", "{rows}: voxels of more than 50 mm",
                             "correct the spacing in the header: is it in micrometres?", max_value=50),
        Check("expect_column_values_to_be_in_set", {"column": "mask_values", "value_set": ["0 1", "0", "1"]},
              "{rows}: the mask holds other values than 0 and 1", "keep the skin label only and set it to 1"),
        expectations.between("foreground_share", "{rows}: the share of skin is outside 0.1 % to 60 %",
                             "look at these masks: empty, inverted or of another organ?",
                             min_value=0.001, max_value=0.6),
        expectations.between("range", "{rows}: the image is constant",
                             "export these images again, or remove the cases", min_value=0, strict_min=True),
    )  # fmt: skip
