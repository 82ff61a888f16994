"""Training hooks: MobileNetV2 (Sandler 2018, arXiv:1801.04381) as torchvision builds it, with a linear head on its
1280 pooled features, and the space where fruits are compared: those features, standardised, on principal components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import Weights
from registry.core.media import Parameters
from registry.models.fruit_features import SPEC
from registry.models.fruit_features.result import FAR
from registry.vision_tasks.torch_classifier import TorchClassifier

FEATURES = 1280
COMPONENTS = 64
# What torchvision's weights were trained with (RGB in [0, 1]).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Space(nn.Module):
    """features float32 [N, 1280] -> pca [N, K], distances to the centroids of C classes [N, C].

    Its buffers are no weights: `finish` sets them from the features of the training pictures.
    """

    mean: Tensor
    scale: Tensor
    components: Tensor
    centroids: Tensor
    absent: Tensor

    def __init__(self, classes: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.register_buffer("components", torch.zeros(components, FEATURES))
        self.register_buffer("centroids", torch.zeros(classes, components))
        self.register_buffer("absent", torch.zeros(classes))  # 1 for a class without a training picture

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        pca = functional.linear((features - self.mean) / self.scale, self.components)
        gaps = pca[:, None, :] - self.centroids[None]
        return pca, (gaps * gaps).sum(dim=2).sqrt() + FAR * self.absent


class FruitNet(nn.Module):
    """x float32 [N, 3, H, W], RGB in [0, 1] -> logits [N, C], features [N, 1280], pca [N, K], distances [N, C].

    `features` and `classifier` are named as in torchvision, so that its weights fit by name and shape.
    """

    pixel_mean: Tensor
    pixel_deviation: Tensor

    def __init__(self, classes: int, components: int = COMPONENTS, dropout: float = 0.2) -> None:
        super().__init__()
        network = torchvision.models.mobilenet_v2(num_classes=classes, dropout=dropout)
        self.features, self.classifier = network.features, network.classifier
        self.space = Space(classes, components)
        self.register_buffer("pixel_mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)
        self.frozen = 0
        """Blocks of `features` that do not learn, from the first on."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.features((x - self.pixel_mean) / self.pixel_deviation).mean(dim=(2, 3))
        return self.classifier(features), features, *self.space(features)

    def train(self, mode: bool = True) -> FruitNet:
        """Frozen blocks stay in eval mode: their batch norm keeps the statistics that its weights were made with."""
        super().train(mode)
        for block in list(self.features)[: self.frozen]:
            block.eval()
        return self

    def freeze(self, blocks: int) -> None:
        """Keeps the first `blocks` blocks of `features` as they are; the others learn."""
        self.frozen = blocks
        for number, block in enumerate(self.features):
            block.requires_grad_(number >= blocks)
        self.train(self.training)


def principal(correlation: Tensor, count: int, rank: int) -> Tensor:
    """The first `count` eigenvectors of a symmetric matrix as rows, by falling eigenvalue; zeros beyond `rank`. Signs
    are free: each row's largest entry is made positive."""
    _, vectors = torch.linalg.eigh(correlation)
    rows = vectors.flip(dims=(1,)).T[:count].clone()
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    rows = rows * torch.where(largest < 0, -1.0, 1.0)
    rows[max(rank, 0) :] = 0
    return rows


class FruitHooks(TorchClassifier):
    """MobileNetV2 and the space of its features."""

    OUTPUTS = ("logits", "embedding", "pca", "nearest")
    HEAD = "classifier.1"
    FULL_PRECISION = (r"/space/.*",)  # sums of 1280 products, next to differences of nearly equal numbers: not for int8

    def build(self, params: Parameters) -> nn.Module:
        """A network with random weights for `params["classes"]` (by default the starter set's)."""
        components = int(params.get("components", COMPONENTS))
        network = FruitNet(len(self.classes(params)), components, float(params.get("dropout", 0.0)))
        for block in network.features:
            if getattr(block, "use_res_connect", False):
                # Residual branches begin at zero (Goyal 2017, arXiv:1706.02677, 5.1): after 90 steps of 16 pictures the
                # loss was 2.20 with this and 2.59 without.
                nn.init.zeros_(block.conv[-1].weight)
        return network

    def keep(self, model: nn.Module) -> list[nn.Module]:
        """The last convolution, whose 1280 channels are the features, and the head."""
        assert isinstance(model, FruitNet)
        return [model.features[-1][0], model.classifier[-1]]

    def before_epoch(self, model: nn.Module, epoch: int, params: Parameters, pretrained: bool) -> None:
        """Transfer learning: `freeze_epochs` with the head alone, then the blocks from `unfreeze_from` on, too. From
        random weights, or from a champion, everything learns from the start."""
        assert isinstance(model, FruitNet)
        if not pretrained:
            model.freeze(0)
        elif epoch < int(params.get("freeze_epochs", 2)):
            model.freeze(len(model.features))
        else:
            model.freeze(int(params.get("unfreeze_from", 7)))

    def finish(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], params: Parameters) -> None:
        """Sets the space from the training pictures: mean and deviation of each feature, principal components of the
        standardised features (exact, by their correlation matrix), and each class's centroid. One pass, float64."""
        assert isinstance(model, FruitNet)
        space, classes = model.space, model.space.centroids.shape[0]
        moment = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)
        sums = torch.zeros(classes, FEATURES, dtype=torch.float64)
        counts = torch.zeros(classes, dtype=torch.float64)
        for x, y in batches:
            features = model(x)[1].double()
            moment += features.T @ features
            sums.index_add_(0, y, features)
            counts.index_add_(0, y, torch.ones_like(y, dtype=torch.float64))
        count = counts.sum()
        mean = sums.sum(dim=0) / count
        covariance = moment / count - torch.outer(mean, mean)
        deviation = covariance.diagonal().clamp(min=0).sqrt()
        # A channel that says nothing here must not be blown up by whatever it says elsewhere.
        scale = torch.where(deviation > 1e-4, deviation, torch.ones_like(deviation))
        components = principal(covariance / torch.outer(scale, scale), space.components.shape[0], int(count) - 1)
        centroids = (sums / counts.clamp(min=1)[:, None] - mean) / scale @ components.T
        for name, value in {
            "mean": mean,
            "scale": scale,
            "components": components,
            "centroids": centroids,
            "absent": (counts == 0).double(),
        }.items():
            getattr(space, name).copy_(value)

    def inherit(self, weights: Weights, classes: Sequence[str], params: Parameters) -> Weights:
        """The space is set anew after training; here it only takes its shape."""
        fresh = self.build(params).state_dict()
        space = {name: np.asarray(value) for name, value in fresh.items() if name.startswith("space.")}
        return {**super().inherit(weights, classes, params), **space}

    def hub_weights(self) -> dict[str, NDArray[Any]]:
        """torchvision's weights for ImageNet-1k (fetched by torchvision, checked against the hash in their name)."""
        kind = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1
        return {name: value.numpy() for name, value in kind.get_state_dict(progress=False, check_hash=True).items()}


HOOKS = FruitHooks(SPEC)
