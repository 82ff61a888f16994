"""Labels: NIfTI masks on the scan's own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.core.errors import BadInput
from registry.core.media import MAX_CASE_VOXELS, Volume
from registry.models.skin_segmentation import nifti
from registry.models.skin_segmentation.inference import SkinResult
from registry.vision_tasks.masks import MaskScore, TrueMask, other_shape


class SkinScore(MaskScore):
    """Dice between predicted and true skin, averaged over cases."""

    LABEL = "a NIfTI mask on the scan's own grid, of the same shape and affine: 1 is skin, 0 is not"

    def truth(self, label: Path | bytes | str) -> TrueMask:
        """Reads a mask: a NIfTI file or its bytes. Any value but 0 is skin. Raises BadInput and its kin."""
        body = label if isinstance(label, bytes) else Path(label).read_bytes()
        return TrueMask((nifti.read(body, MAX_CASE_VOXELS).voxels != 0).astype(np.uint8))

    def result_of(self, truth: TrueMask, sample: Volume) -> SkinResult:
        """What a perfect model answers."""
        return SkinResult.of(truth.mask, sample)

    def check(self, label: bytes | str, body: bytes) -> None:
        """Shape and affine must be the scan's, and values 0 and 1. The mask is looked
        through block by block, and nothing larger is taken into memory."""
        if isinstance(label, str):
            raise BadInput(f"the label is the text {label[:80]!r}", expected=self.LABEL, fix="send the mask as a file")
        scan, mask = nifti.head(body, MAX_CASE_VOXELS), nifti.head(label, MAX_CASE_VOXELS)
        if mask.shape != scan.shape:
            raise other_shape(mask.shape, scan.shape)
        # Half a hundredth of a voxel: qform-only files differ by their quaternion's float32 rounding.
        if np.abs(scan.affine - mask.affine).max() > 0.005 * max(1.0, *scan.spacing):
            raise BadInput(
                "the label lies at another place in space than the scan: their affines differ",
                expected=self.LABEL,
                fix="resample it to the scan, or copy the scan's affine if only the header is wrong",
            )
        for block in nifti.values(label, MAX_CASE_VOXELS):
            wrong = block[(block != 0) & (block != 1)]
            if len(wrong):
                found, fix = f"the label holds the value {wrong[0]:g}", "keep the skin only and set it to 1"
                raise BadInput(found, expected=self.LABEL, fix=fix)
