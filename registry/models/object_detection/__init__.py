"""Finds everyday objects in pictures and videos: YOLOv5 nano and the 80 classes of COCO."""

from registry.contract.spec import Budget, Metric, ModelSpec

# In COCO's order, as every published network of this family has them.
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip

SPEC = ModelSpec(
    name="object_detection",
    title="Object detection",
    task="detection",
    framework="ultralytics",
    classes=COCO,
    metric=Metric("map50_95", "mAP50-95", floor=0.25),
    budget=Budget(latency_ms=40.0, size_mb=14.0, metric_loss=0.02),
    weights=("file:~/.cache/visionloop/yolov5n.safetensors", "hub"),
    caution="Trained as shipped on drawings of a few classes: fine-tune it on pictures of yours before you rely on it. "
    "It misses things; nothing that can hurt anyone may hang on what it sees.",
)
