"""The model: an ordinary detector, YOLOv8 nano (ultralytics 2023)."""

from registry.models.weapon_detection import SPEC
from registry.vision_tasks.detector import detector

# The demo's shift first: a camera that saw well by day and is still there at night.
MODEL = detector(
    SPEC,
    network="ultralytics/yolov8n",
    shifts=("night", "fog", "blur", "sensor-noise", "low-resolution", "jpeg", "camera", "glare"),
)
