"""Dice between predicted and true skin, averaged over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from registry.contract.parts import ScorePart
from registry.core.errors import BadInput
from registry.core.media import MAX_CASE_VOXELS, ByteArray, Volume
from registry.models.skin_segmentation import nifti
from registry.models.skin_segmentation.inference import SkinResult
from registry.vision_tasks.memo import remembered

LABEL = "a NIfTI mask on the scan's own grid, of the same shape and affine: 1 is skin, 0 is not"


@dataclass(frozen=True, eq=False)
class Truth:
    """A true mask: uint8 [X, Y, Z], 1 is skin."""

    mask: ByteArray


def _other_shape(mask: tuple[int, ...], scan: tuple[int, ...]) -> BadInput:
    return BadInput(
        f"the label has {' x '.join(map(str, mask))} voxels",
        expected=f"the image's {' x '.join(map(str, scan))}",
        fix="draw the label on the image it belongs to",
    )


@remembered
def dice(result: SkinResult, true: Truth) -> float:
    """2 |A and B| / (|A| + |B|) in [0, 1]; two empty masks agree: 1.

    Raises:
        BadInput: the masks are not of one shape.
    """
    if result.mask.shape != true.mask.shape:
        raise _other_shape(true.mask.shape, result.mask.shape)
    both = np.count_nonzero(result.mask & true.mask)
    total = np.count_nonzero(result.mask) + np.count_nonzero(true.mask)
    return 2 * both / total if total else 1.0


class SkinScore(ScorePart):
    """Dice. Two empty masks agree, so every case is positive."""

    LABEL = LABEL

    def truth(self, label: Path | bytes | str) -> Truth:
        """Reads a mask: a NIfTI file or its bytes. Any value but 0 is skin. Raises BadInput and its kin."""
        body = label if isinstance(label, bytes) else Path(label).read_bytes()
        return Truth((nifti.read(body, MAX_CASE_VOXELS).voxels != 0).astype(np.uint8))

    def result_of(self, truth: Truth, sample: Volume) -> SkinResult:
        """What a perfect model answers."""
        return SkinResult.of(truth.mask, sample)

    def check(self, label: bytes | str, body: bytes) -> None:
        """Shape and affine must be the scan's, and values 0 and 1. The mask is looked
        through block by block, and nothing larger is taken into memory."""
        if isinstance(label, str):
            raise BadInput(f"the label is the text {label[:80]!r}", expected=LABEL, fix="send the mask as a file")
        scan, mask = nifti.head(body, MAX_CASE_VOXELS), nifti.head(label, MAX_CASE_VOXELS)
        if mask.shape != scan.shape:
            raise _other_shape(mask.shape, scan.shape)
        # Half a hundredth of a voxel: qform-only files differ by their quaternion's float32 rounding.
        if np.abs(scan.affine - mask.affine).max() > 0.005 * max(1.0, *scan.spacing):
            raise BadInput(
                "the label lies at another place in space than the scan: their affines differ",
                expected=LABEL,
                fix="resample it to the scan, or copy the scan's affine if only the header is wrong",
            )
        for block in nifti.values(label, MAX_CASE_VOXELS):
            wrong = block[(block != 0) & (block != 1)]
            if len(wrong):
                raise BadInput(
                    f"the label holds the value {wrong[0]:g}", expected=LABEL, fix="keep the skin only and set it to 1"
                )

    def score(self, results: Sequence[SkinResult], truths: Sequence[Truth]) -> float:
        """Mean Dice over cases. Raises ValueError if there is none."""
        if not results:
            raise ValueError("Dice of no cases is not defined")
        return float(np.mean([dice(r, t) for r, t in zip(results, truths, strict=True)]))
