"""Training hooks: U-Net (Ronneberger 2015) with an EfficientNet-B0 encoder (Tan 2019) over the slices of scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from registry.contract.hooks import Augmented
from registry.core.media import MAX_CASE_VOXELS, Case, FloatArray, Parameters
from registry.models.skin_segmentation import SPEC, inference
from registry.models.skin_segmentation.inference import SkinInference
from registry.models.skin_segmentation.score import SkinScore
from registry.vision_tasks.smp_segmenter import SmpSegmenter

INFERENCE, SCORE = SkinInference(), SkinScore(SPEC)


class Slices(Augmented):
    """Every slice of every case, preprocessed once and kept: x float32 [1, S, S], y float32 [1, S, S] of 0 and 1."""

    def __init__(self, cases: Sequence[Case], constants: Parameters, train: bool, seed: int) -> None:
        images, masks = [], []
        for case in cases:
            prepared = INFERENCE.preprocess(INFERENCE.decode(case.input.read_bytes(), MAX_CASE_VOXELS), constants)
            images.append(prepared.batch)
            masks.append(inference.prepare_truth(SCORE.truth(case.truth).mask, prepared))
        size = constants["image_size"]
        empty = np.zeros((0, 1, size, size), np.float32)
        self.images = np.concatenate([empty, *images])
        self.masks = np.concatenate([empty, *masks])
        super().__init__(len(self.images), train, seed)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.images[index, 0], self.masks[index, 0]
        if (rng := self.rng(index)) is not None:
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


class SkinHooks(SmpSegmenter):
    """The network sees slices in grey. `decoder_channels`: five counts, coarse to fine."""

    CHANNELS = 1

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return inference.DEFAULTS | super().preprocessing(params)

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return {"probability": super().thresholds(params)["probability"]}

    def build(self, params: Parameters) -> nn.Module:
        return super().build({"decoder_channels": (128, 64, 32, 16, 16), **params})

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Slices:
        return Slices(cases, self.preprocessing(params), train, seed)


HOOKS = SkinHooks(SPEC, "unet-efficientnet-b0")
