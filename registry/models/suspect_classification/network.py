"""Training hooks: MobileNetV2 with nine classes (`registry.vision_tasks.keras_classifier`)."""

from __future__ import annotations

from registry.models.suspect_classification import SPEC, inference
from registry.vision_tasks import keras_loss
from registry.vision_tasks.keras_classifier import OUTPUTS, MobileNet

__all__ = ["OUTPUTS", "build", "examples", "hub_weights", "input_shape", "keep", "loss", "preprocessing", "thresholds"]

_net = MobileNet(SPEC.name, SPEC.classes, inference.DEFAULTS)

loss = keras_loss.loss
input_shape, preprocessing, thresholds = _net.input_shape, _net.preprocessing, _net.thresholds
build, keep, examples, hub_weights = _net.build, _net.keep, _net.examples, _net.hub_weights
