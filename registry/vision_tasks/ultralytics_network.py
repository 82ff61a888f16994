"""A detector's network of the package ultralytics, by name. Without the package: `training.engines.yolo` builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.contract.hooks import UltralyticsNetwork
from registry.core.errors import SettingsError
from registry.core.media import Parameters
from registry.vision_tasks.detector import PREDICTIONS

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


STRIDE = 32  # of the coarsest grid; the square's edge is a multiple of it


class Ultralytics(UltralyticsNetwork):
    """A YOLO of ultralytics by its YAML's name, e.g. `yolov8n`; `training.engines.yolo` builds and trains it."""

    OUTPUTS = (PREDICTIONS, "embedding")

    def __init__(self, spec: ModelSpec, architecture: str) -> None:
        self.ARCHITECTURE = f"{architecture}.yaml"

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        """(3, S, S). Raises SettingsError for a size that the network's grids do not divide."""
        size = int(params["image_size"])
        if size < STRIDE or size % STRIDE:
            raise SettingsError(
                f"image_size is {size}",
                expected=f"a multiple of {STRIDE}",
                fix=f"use {max(1, size // STRIDE) * STRIDE}",
            )
        return 3, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return {"image_size": self.input_shape(params)[1]}

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        """Least score that is shown, and overlap from which one box stays."""
        return {"score": float(params.get("score", 0.25)), "iou": float(params.get("iou", 0.6))}
