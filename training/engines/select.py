"""Which engine trains a model, and what it asks of the model. The framework is imported when it is asked for.

| framework   | engine        | hooks                                                                         |
|-------------|---------------|-------------------------------------------------------------------------------|
| torch       | `TorchEngine` | `spec.network`                                                                |
| ultralytics | `TorchEngine` | `training.engines.yolo.YoloHooks`: network, loss, augmentation of ultralytics |
| keras       | `KerasEngine` | `spec.network`                                                                |
"""

from __future__ import annotations

from typing import Any

from registry.contract.hooks import Hooks
from registry.contract.spec import ModelSpec
from training.workspace.engine import Engine


def engine_of(spec: ModelSpec) -> Engine[Any]:
    """The engine that trains `spec`."""
    if spec.framework == "keras":
        from training.engines.engine_keras import KerasEngine

        return KerasEngine()
    from training.engines.engine_torch import TorchEngine

    return TorchEngine()


def hooks_of(spec: ModelSpec) -> Hooks:
    """What the engine asks of this model."""
    if spec.framework == "ultralytics":
        from training.engines.yolo import YoloHooks

        return YoloHooks(spec)
    network = spec.network
    assert isinstance(network, Hooks), f"{spec.name}: the network of {spec.framework} is a {type(network).__name__}"
    return network
