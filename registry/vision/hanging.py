"""How slices of a scan are hung: anterior (or head) up, the patient's right on the left, in true proportions."""

from __future__ import annotations

import cv2
import nibabel as nib
import numpy as np

from registry.core.media import FloatArray, Volume

LONG_SIDE = 640  # of a picture, pixels
# The far end of each axis of RAS+ on the picture: patients are seen from the feet and from the front.
_TOWARDS = {0: "L", 1: "P", 2: "I"}
_OPPOSITE = {"L": "R", "P": "A", "I": "S"}


class Hanging:
    """Turns slices across one axis of a volume [X, Y, Z] into pictures.

    For oblique scans the nearest anatomical direction of each axis counts (nibabel's `io_orientation`).

    Attributes:
        axis: across which slices are cut.
        top, right, bottom, left: what the edges of the picture face: R, L, A, P, S or I.
        size: width and height of the picture, pixels.
    """

    def __init__(self, sample: Volume, axis: int) -> None:
        self.axis = axis
        first, second = (a for a in range(3) if a != axis)
        orientation = nib.orientations.io_orientation(sample.affine)
        # Of the two in-plane axes, the one that runs most along the body (S over A over R) becomes the vertical.
        self._transposed = orientation[second, 0] > orientation[first, 0]
        up, across = (second, first) if self._transposed else (first, second)
        # The picture's vertical must fall from A (S) to P (I), its horizontal rise from R (A) to L (P).
        self._flip_up = orientation[up, 1] > 0
        self._flip_across = orientation[across, 1] > 0
        self.bottom = _TOWARDS[int(orientation[up, 0])]
        self.right = _TOWARDS[int(orientation[across, 0])]
        self.top, self.left = _OPPOSITE[self.bottom], _OPPOSITE[self.right]
        tall = sample.voxels.shape[up] * sample.spacing[up]
        wide = sample.voxels.shape[across] * sample.spacing[across]
        scale = LONG_SIDE / max(tall, wide)
        self.size = (max(16, round(wide * scale)), max(16, round(tall * scale)))

    def of(self, voxels: np.ndarray, number: int, interpolation: int = cv2.INTER_LINEAR) -> FloatArray:
        """float32 [height, width] of slice `number`."""
        image = self.hung(np.asarray(np.moveaxis(voxels, self.axis, 0)[number], dtype=np.float32))
        return np.asarray(cv2.resize(image, self.size, interpolation=interpolation), dtype=np.float32)

    def hung(self, image: np.ndarray) -> np.ndarray:
        """A slice [H, W] or [H, W, C] of the volume's voxels, turned as it is hung."""
        if self._transposed:
            image = image.swapaxes(0, 1)
        if self._flip_up:
            image = image[::-1]
        if self._flip_across:
            image = image[:, ::-1]
        return np.ascontiguousarray(image)
