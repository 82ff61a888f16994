"""A classifier of the package timm, by the name of its architecture: `mobilenetv3_small_100`, `resnet18`, ..."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from registry.core.errors import SettingsError
from registry.core.media import Parameters
from registry.vision_tasks.torch_classifier import TorchClassifier

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


class TimmNet(nn.Module):
    """x float32 [N, 3, H, W], RGB in [0, 1] -> logits [N, C], embedding [N, D]: the features before the head.

    Layers are named as in timm, so that its weights fit by name and shape.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, architecture: str, classes: int, dropout: float) -> None:
        super().__init__()
        self.net: Any = timm.create_model(architecture, pretrained=False, num_classes=classes, drop_rate=dropout)
        config = self.net.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.forward_features((x - self.mean) / self.deviation)
        embedding = self.net.forward_head(features, pre_logits=True)
        return self.net.get_classifier()(embedding), embedding


class TimmClassifier(TorchClassifier):
    """Hooks of a timm network. `train.dropout` of the parameters (default 0) comes before the head.

    Raises:
        SettingsError: timm knows no such architecture, or its head is not one linear layer.
    """

    def __init__(self, spec: ModelSpec, architecture: str) -> None:
        super().__init__(spec)
        if not timm.is_model(architecture):
            close = difflib.get_close_matches(architecture, timm.list_models(), n=1)
            raise _unknown(
                spec, architecture, "one of timm.list_models()", f"did you mean timm/{close[0]}?" if close else ""
            )
        self.architecture = architecture
        found = timm.get_pretrained_cfg(architecture)
        head = found.classifier if found else None
        if not isinstance(head, str):
            raise _unknown(spec, architecture, "a network with one linear head", "")
        self.HEAD = f"net.{head}"

    def build(self, params: Parameters) -> nn.Module:
        network = TimmNet(self.architecture, len(self.classes(params)), float(params.get("dropout", 0.0)))
        if not isinstance(network.net.get_classifier(), nn.Linear):  # a convolution, as in timm's resnetv2
            raise _unknown(self.spec, self.architecture, "a network with one linear head", "")
        return network

    def hub_weights(self) -> dict[str, NDArray[Any]]:
        """timm's own pretrained weights, from its hub. The head has other classes and stays as it is."""
        network = timm.create_model(self.architecture, pretrained=True)
        return {f"net.{name}": np.asarray(value) for name, value in network.state_dict().items()}


def _unknown(spec: ModelSpec, architecture: str, expected: str, fix: str) -> SettingsError:
    where = f"correct registry/models/{spec.name}/model.py"
    return SettingsError(f"the network of {spec.name} is timm/{architecture}", expected=expected, fix=fix or where)
