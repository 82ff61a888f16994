"""The model: an ordinary detector, YOLOv5 nano (Jocher 2020) with ultralytics' anchor-free head."""

from registry.models.object_detection import SPEC
from registry.vision_tasks.detector import detector

MODEL = detector(
    SPEC,
    network="ultralytics/yolov5n",
    shifts=("fog", "night", "blur", "sensor-noise", "jpeg", "low-resolution", "camera", "glare"),
)
