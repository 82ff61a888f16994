"""A detector's network of the package ultralytics, by name. Without the package: `training.engines.yolo` builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.contract.hooks import UltralyticsNetwork
from registry.core.media import Parameters
from registry.vision_tasks import detection

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


class Ultralytics(UltralyticsNetwork):
    """A YOLO of ultralytics by its YAML's name, e.g. `yolov8n`; `training.engines.yolo` builds and trains it."""

    OUTPUTS = detection.OUTPUTS

    def __init__(self, spec: ModelSpec, architecture: str) -> None:
        self.ARCHITECTURE = f"{architecture}.yaml"

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        return detection.input_shape(params)

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return detection.preprocessing(params)

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return detection.thresholds(params)
