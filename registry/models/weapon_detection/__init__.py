"""Finds firearms in pictures and videos: YOLOv8 nano."""

from registry.contract.spec import Budget, Metric, ModelSpec

SPEC = ModelSpec(
    name="weapon_detection",
    title="Weapon detection",
    task="detection",
    framework="ultralytics",
    classes=("gun",),
    metric=Metric("map50", "mAP50", floor=0.50),
    budget=Budget(latency_ms=40.0, size_mb=14.0, metric_loss=0.02),
    weights=("file:~/.cache/visionloop/yolov8n.safetensors", "hub"),
    caution="An aid to a person who looks and decides: it misses weapons and takes tools for weapons. Never let it act "
    "on its own, accuse or identify anyone, or aim anything.",
)
