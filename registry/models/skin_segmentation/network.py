"""Training hooks: U-Net (Ronneberger 2015) with an EfficientNet-B0 encoder (Tan 2019), as built by
segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import Examples, TorchHooks
from registry.core.media import MAX_CASE_VOXELS, Case, FloatArray, Parameters
from registry.models.skin_segmentation import inference
from registry.models.skin_segmentation.inference import SkinInference
from registry.models.skin_segmentation.score import SkinScore

INFERENCE, SCORE = SkinInference(), SkinScore()


class SkinNet(nn.Module):
    """x float32 [N, 1, H, W] in [0, 1], H and W multiples of 32 -> logits [N, 1, H, W], embedding [N, D]."""

    def __init__(self, decoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.unet = smp.Unet(
            "efficientnet-b0", encoder_weights=None, in_channels=1, classes=1, decoder_channels=tuple(decoder_channels)
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                # The encoder comes with 0.01, made for a million steps: after some hundred its running means would
                # still be those of random weights, and evaluation would find nothing.
                module.momentum = 0.1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.unet.encoder(x)
        logits = self.unet.segmentation_head(self.unet.decoder(features))
        return logits, features[-1].mean(dim=(2, 3))


def constants_of(params: Parameters) -> dict[str, Any]:
    """For `SkinInference.preprocess`."""
    return inference.DEFAULTS | {"image_size": int(params["image_size"])}


class Slices(Examples):
    """Every slice of every case, preprocessed once and kept: x float32 [1, S, S], y float32 [1, S, S] of 0 and 1.

    With `train`, each access draws a new augmentation from (seed, index, how often it was drawn), so that a run can
    be repeated; `set_epoch` puts the count where an interrupted run left it.
    """

    def __init__(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> None:
        constants = constants_of(params)
        images, masks = [], []
        for case in cases:
            prepared = INFERENCE.preprocess(INFERENCE.decode(case.input.read_bytes(), MAX_CASE_VOXELS), constants)
            images.append(prepared.batch)
            masks.append(inference.prepare_truth(SCORE.truth(case.truth).mask, prepared))
        size = int(params["image_size"])
        empty = np.zeros((0, 1, size, size), np.float32)
        self.images = np.concatenate([empty, *images])
        self.masks = np.concatenate([empty, *masks])
        self._train, self._seed = train, seed
        self._drawn = np.zeros(len(self.images), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        self._drawn[:] = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.images[index, 0], self.masks[index, 0]
        if self._train:
            rng = np.random.default_rng([self._seed, index, int(self._drawn[index])])
            self._drawn[index] += 1
            image, mask = augment(image, mask, rng)
        return torch.from_numpy(image.copy())[None], torch.from_numpy(mask.copy())[None]


def augment(image: FloatArray, mask: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Other poses, slightly other contrast and noise. Mild on purpose: what a scanner has never done is for the drift
    monitor to notice, not for the network to shrug off unmeasured."""
    size = image.shape[0]
    turn, scale = rng.uniform(-20, 20), rng.uniform(0.85, 1.15)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, scale)
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * size
    quarter, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def posed(picture: FloatArray) -> FloatArray:
        turned = np.rot90(cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR), quarter)
        return np.asarray(turned[:, ::-1] if mirrored else turned, dtype=np.float32)

    seen = np.clip(posed(image), 0, 1) ** rng.uniform(0.85, 1.18)
    seen = seen + rng.normal(0, rng.uniform(0, 0.02), seen.shape)
    return np.clip(seen, 0, 1).astype(np.float32), (posed(mask) >= 0.5).astype(np.float32)


class SkinHooks(TorchHooks):
    """U-Net with an EfficientNet-B0 encoder."""

    OUTPUTS = ("mask", "embedding")

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        size = int(params["image_size"])
        return 1, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return constants_of(params)

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return {"probability": float(params.get("threshold", 0.5))}

    def build(self, params: Parameters) -> nn.Module:
        """A network with random weights. `decoder_channels`: five counts, coarse to fine."""
        return SkinNet(params.get("decoder_channels", (128, 64, 32, 16, 16)))

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Slices:
        return Slices(cases, params, train, seed)

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Binary cross-entropy and soft Dice over the batch (V-Net, Milletari 2016): stable early, and the metric."""
        logits = outputs[0].float()
        probability = logits.sigmoid()
        overlap = 2 * (probability * target).sum() + 1
        total = probability.sum() + target.sum() + 1
        return functional.binary_cross_entropy_with_logits(logits, target) + 1 - overlap / total

    def keep(self, model: nn.Module) -> list[nn.Module]:
        """The head: its output channels are the classes."""
        assert isinstance(model, SkinNet)
        return [model.unet.segmentation_head[0]]


HOOKS = SkinHooks()
