"""Training hooks: MobileNetV2 (Sandler 2018, arXiv:1801.04381) as torchvision builds it, with a linear head on its
1280 pooled features, and the space where fruits are compared: those features, standardised, on principal components."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import Examples, TorchHooks
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, Parameters
from registry.models.fruit_features import SPEC
from registry.models.fruit_features.result import FAR
from registry.vision.picture import Letterbox, decode, to_input

FULL_PRECISION = (r"/space/.*",)  # sums of 1280 products, next to differences of nearly equal numbers: not for int8
Weights = Mapping[str, NDArray[Any]]
FEATURES = 1280
COMPONENTS = 64
CACHE_BYTES = 2_000_000_000  # of decoded training pictures that are kept
SMOOTHING = 0.05
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


def _classes(params: Parameters) -> list[str]:
    return list(params.get("classes") or SPEC.classes)


class Pictures(Examples):
    """Pictures as the network sees them: x float32 [3, S, S], y int64, the number of the class.

    With `train`, each access draws a new augmentation from (seed, index, how often it was drawn), so that a run can
    be repeated; `set_epoch` puts the count where an interrupted run left it.
    """

    def __init__(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> None:
        self._size = int(params["image_size"])
        numbers = {name: n for n, name in enumerate(_classes(params))}
        self._files = [case.input for case in cases]
        self._labels = [numbers[str(case.truth)] for case in cases]
        self._train, self._seed = train, seed
        self._drawn = np.zeros(len(cases), dtype=np.int64)
        self._kept: dict[int, ByteArray] = {}

    def __len__(self) -> int:
        return len(self._files)

    def set_epoch(self, epoch: int) -> None:
        self._drawn[:] = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = self._pixels(index)
        if self._train:
            rng = np.random.default_rng([self._seed, index, int(self._drawn[index])])
            self._drawn[index] += 1
            pixels = augment(pixels, rng)
        return torch.from_numpy(to_input(pixels)), torch.tensor(self._labels[index])

    def _pixels(self, index: int) -> ByteArray:
        """uint8 [S, S, 3] BGR, letterboxed just as `classification.preprocess` does it."""
        found = self._kept.get(index)
        if found is None:
            sample = decode(self._files[index].read_bytes(), MAX_CASE_PIXELS)
            found = Letterbox.of(sample.width, sample.height, self._size).fit(sample.pixels)
            if (len(self._kept) + 1) * found.nbytes <= CACHE_BYTES:
                self._kept[index] = found
        return found


def augment(pixels: ByteArray, rng: np.random.Generator) -> ByteArray:
    """Slightly other poses and crops, mirrored or not, a little more or less light. Mild on purpose: stronger ones cost
    a short training more than they give it, and what no camera here has done is for the drift monitor to notice."""
    size = pixels.shape[0]
    turn, scale = rng.uniform(-10, 10), rng.uniform(0.95, 1.15)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, scale)
    matrix[:, 2] += rng.uniform(-0.05, 0.05, 2) * size
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    seen = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    curve = np.clip(np.arange(256) * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)
    return cv2.LUT(seen, curve).astype(np.uint8, copy=False)


def principal(correlation: Tensor, count: int, rank: int) -> Tensor:
    """The first `count` eigenvectors of a symmetric matrix as rows, by falling eigenvalue; zeros beyond `rank`. Signs
    are free: each row's largest entry is made positive."""
    _, vectors = torch.linalg.eigh(correlation)
    rows = vectors.flip(dims=(1,)).T[:count].clone()
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    rows = rows * torch.where(largest < 0, -1.0, 1.0)
    rows[max(rank, 0) :] = 0
    return rows


class FruitHooks(TorchHooks):
    """MobileNetV2 and the space of its features."""

    OUTPUTS = ("logits", "embedding", "pca", "nearest")
    FULL_PRECISION = FULL_PRECISION
    COUNTS_METRIC = True

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        size = int(params["image_size"])
        return 3, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return {"image_size": int(params["image_size"])}

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return {"classes": _classes(params)}

    def build(self, params: Parameters) -> nn.Module:
        """A network with random weights for `params["classes"]` (by default the starter set's)."""
        components = int(params.get("components", COMPONENTS))
        network = FruitNet(len(_classes(params)), components, float(params.get("dropout", 0.0)))
        for block in network.features:
            if getattr(block, "use_res_connect", False):
                # Residual branches begin at zero (Goyal 2017, arXiv:1706.02677, 5.1): after 90 steps of 16 pictures the
                # loss was 2.20 with this and 2.59 without.
                nn.init.zeros_(block.conv[-1].weight)
        return network

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Pictures:
        return Pictures(cases, params, train, seed)

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[0].float(), target, label_smoothing=SMOOTHING)

    def metric_parts(self, outputs: tuple[Tensor, ...], target: Tensor) -> tuple[float, float]:
        """Pictures named rightly, and pictures."""
        return float((outputs[0].argmax(dim=1) == target).sum()), float(len(target))

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

    def inherit(
        self, weights: Mapping[str, NDArray[Any]], thresholds: Parameters, params: Parameters
    ) -> dict[str, NDArray[Any]]:
        """A champion's weights for other classes: rows of the head whose class it knew are kept, new ones are drawn.
        The space is set anew after training; here it only takes its shape."""
        known = {name: n for n, name in enumerate(thresholds["classes"])}
        wanted = _classes(params)
        fresh = {name: np.asarray(value) for name, value in self.build(params).state_dict().items()}
        found = {name: np.asarray(value) for name, value in weights.items()}
        for name in ("classifier.1.weight", "classifier.1.bias"):
            rows = fresh[name].copy()
            for n, one in enumerate(wanted):
                if one in known:
                    rows[n] = found[name][known[one]]
            found[name] = rows
        return found | {name: value for name, value in fresh.items() if name.startswith("space.")}

    def hub_weights(self) -> dict[str, NDArray[Any]]:
        """torchvision's weights for ImageNet-1k (fetched by torchvision, checked against the hash in their name)."""
        kind = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1
        return {name: value.numpy() for name, value in kind.get_state_dict(progress=False, check_hash=True).items()}


HOOKS = FruitHooks()
