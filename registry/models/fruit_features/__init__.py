"""Recognises fruit and describes it: MobileNetV2's 1280 features, standardised, with their principal components."""

from registry.contract.spec import Budget, Metric, ModelSpec
from registry.vision.media_types import PICTURE_OUT

SPEC = ModelSpec(
    name="fruit_features",
    title="Fruit features",
    task="features",
    framework="torch",
    media_out=(*PICTURE_OUT, "application/x-npy"),
    classes=(
        "apple", "banana", "cherry", "grape", "kiwi", "lemon", "lime", "mango",
        "orange", "peach", "pear", "pineapple", "plum", "strawberry", "watermelon",
    ),
    metric=Metric("accuracy", "Linear-probe accuracy", floor=0.80),
    budget=Budget(latency_ms=10.0, size_mb=12.0, metric_loss=0.01),
    weights=("file:~/.cache/torch/hub/checkpoints/mobilenet_v2-b0353104.pth", "hub"),  # torchvision's, ImageNet-1k
    embeds="the picture: the 1280 pooled features of MobileNetV2",
    caution="Knows the kinds of fruit that it was shown, and nothing of ripeness, quality or whether it may be eaten.",
    parameters={
        "freeze_epochs": "epochs in which the head alone learns, where the weights are pretrained",
        "unfreeze_from": "first of the 19 blocks of MobileNetV2 that goes on learning, where they are",
        "components": "principal components of the 1280 features",
        "dropout": "share of features that are dropped in training",
    },
)  # fmt: skip
