"""The network: YOLOv5 nano (Jocher 2020) with ultralytics' anchor-free head; outputs are boxes, class probabilities and
an embedding. `training/engines/yolo.py` builds and trains it."""

from __future__ import annotations

from registry.vision_tasks.detection import OUTPUTS, input_shape, preprocessing, thresholds

__all__ = ["ARCHITECTURE", "OUTPUTS", "input_shape", "preprocessing", "thresholds"]

ARCHITECTURE = "yolov5n.yaml"
