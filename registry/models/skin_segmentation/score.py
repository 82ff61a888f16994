"""Dice between predicted and true skin, averaged over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from registry.errors import BadInput
from registry.media import ByteArray, Volume
from registry.models.skin_segmentation import nifti
from registry.models.skin_segmentation.inference import SkinResult
from registry.vision.remembered import remembered

MAX_VOXELS = 512_000_000  # of a label; its image was already let through


@dataclass(frozen=True, eq=False)
class Truth:
    """A true mask: uint8 [X, Y, Z], 1 is skin."""

    mask: ByteArray


def truth(label: Path | bytes | str) -> Truth:
    """Reads a mask: a NIfTI file or its bytes. Any value but 0 is skin. Raises BadInput and its kin."""
    body = label if isinstance(label, bytes) else Path(label).read_bytes()
    return Truth((nifti.read(body, MAX_VOXELS).voxels != 0).astype(np.uint8))


def result_of(truth: Truth, sample: Volume) -> SkinResult:
    """What a perfect model answers."""
    return SkinResult.of(truth.mask, sample)


@remembered
def dice(result: SkinResult, true: Truth) -> float:
    """2 |A and B| / (|A| + |B|) in [0, 1]; two empty masks agree: 1.

    Raises:
        BadInput: the masks are not of one shape.
    """
    if result.mask.shape != true.mask.shape:
        raise BadInput(
            f"the label has {' x '.join(map(str, true.mask.shape))} voxels",
            expected=f"the image's {' x '.join(map(str, result.mask.shape))}",
            mend="draw the label on the image it belongs to",
        )
    both = np.count_nonzero(result.mask & true.mask)
    total = np.count_nonzero(result.mask) + np.count_nonzero(true.mask)
    return 2 * both / total if total else 1.0


def score(results: Sequence[SkinResult], truths: Sequence[Truth]) -> float:
    """Mean Dice over cases. Raises ValueError if there is none."""
    if not results:
        raise ValueError("Dice of no cases is not defined")
    return float(np.mean([dice(r, t) for r, t in zip(results, truths, strict=True)]))


def per_class(results: Sequence[SkinResult], truths: Sequence[Truth]) -> dict[str, float]:
    """One class only: {}."""
    return {}
