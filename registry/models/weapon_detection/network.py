"""The network: YOLOv8 nano (ultralytics 2023) with boxes, class probabilities and an embedding as outputs.
`training/engines/yolo.py` builds and trains it."""

from __future__ import annotations

from registry.vision_tasks.detection import OUTPUTS, input_shape, preprocessing, thresholds

__all__ = ["ARCHITECTURE", "OUTPUTS", "input_shape", "preprocessing", "thresholds"]

ARCHITECTURE = "yolov8n.yaml"
