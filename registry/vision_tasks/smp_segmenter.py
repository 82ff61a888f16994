"""A network of segmentation-models-pytorch by name, `ARCHITECTURE-ENCODER`: `unet-resnet18`, `fpn-efficientnet-b0`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import Augmented, Examples
from registry.core.errors import SettingsError
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, Parameters
from registry.vision.picture import Letterbox, decode, to_input
from registry.vision_tasks import segmentation
from registry.vision_tasks.classifier_hooks import CACHE_BYTES, pose, posed, relit
from registry.vision_tasks.segmenter import SegmenterScore
from registry.vision_tasks.torch_classifier import TorchClassifier

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

ARCHITECTURES = ("unet", "unetplusplus", "linknet", "fpn", "deeplabv3", "deeplabv3plus")
"""Those that can be exported and pruned; torch-pruning cannot follow the attention of manet, nor pspnet and pan."""
NARROWED = ("unet", "unetplusplus")
"""Those whose decoder has a number of channels for each of its stages."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of RGB that most encoders' published weights expect."""


class SmpNet(nn.Module):
    """x float32 [N, channels, H, W] in [0, 1], H and W multiples of 32 -> logits [N, C, H, W], embedding [N, D]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, architecture: str, encoder: str, channels: int, classes: int, **options: Any) -> None:
        super().__init__()
        # `unet`, whichever the architecture: the weights of every version have that name.
        self.unet = smp.create_model(
            architecture, encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
        )
        self.colours = channels == 3
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.unet.encoder((x - self.mean) / self.deviation if self.colours else x)
        logits = self.unet.segmentation_head(self.unet.decoder(features))
        return logits, features[-1].mean(dim=(2, 3))


class SmpSegmenter(TorchClassifier):
    """Hooks of such a network, which classifies each pixel. `train.decoder_channels` of the parameters narrows the
    decoder of a unet.

    Raises:
        SettingsError: the package has no such architecture or encoder.
    """

    OUTPUTS = segmentation.OUTPUTS
    HEAD = "unet.segmentation_head.0"
    CHANNELS = 3

    def __init__(self, spec: ModelSpec, architecture: str) -> None:
        super().__init__(spec)
        self.architecture, _, self.encoder = architecture.partition("-")
        encoders = sorted(smp.encoders.get_encoder_names())
        if self.architecture not in ARCHITECTURES:
            raise self._unknown(ARCHITECTURES, self.architecture, "{}-" + (self.encoder or "resnet18"))
        if self.encoder not in encoders and not self.encoder.startswith("tu-"):
            raise self._unknown(encoders, self.encoder, f"{self.architecture}-{{}}")

    def _unknown(self, known: Sequence[str], given: str, name: str) -> SettingsError:
        close = difflib.get_close_matches(given, known, n=1)
        return SettingsError(
            f"the network of {self.spec.name} is smp/{self.architecture}-{self.encoder}",
            expected=f"smp/ARCHITECTURE-ENCODER with {', '.join(known[:9])}{', ...' if len(known) > 9 else ''}",
            fix=f"did you mean smp/{name.format(close[0])}?"
            if close
            else f"correct registry/models/{self.spec.name}/model.py",
        )

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        return self.CHANNELS, *super().input_shape(params)[1:]

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return {**super().thresholds(params), "probability": float(params.get("threshold", 0.5))}

    def build(self, params: Parameters) -> nn.Module:
        """A network with random weights. Raises SettingsError for an encoder or options that do not fit."""
        options = {"decoder_channels": tuple(params["decoder_channels"])} if "decoder_channels" in params else {}
        try:
            if options and self.architecture not in NARROWED:
                raise ValueError(f"only {' and '.join(NARROWED)} have `decoder_channels`")
            return SmpNet(self.architecture, self.encoder, self.CHANNELS, len(self.classes(params)), **options)
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            raise SettingsError(
                f"smp/{self.architecture}-{self.encoder} of {self.spec.name} cannot be built: {error}",
                expected="an encoder and a decoder that fit each other",
                fix=f"correct registry/models/{self.spec.name}/model.py, or `decoder_channels` in params.yaml",
            ) from error

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Examples:
        return MaskedPictures(cases, SegmenterScore(self.spec), int(params["image_size"]), train, seed)

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Binary cross-entropy and soft Dice over the batch, class by class (V-Net, Milletari 2016): stable early, and
        the metric."""
        logits = outputs[0].float()
        probability, over = logits.sigmoid(), (0, 2, 3)
        overlap = 2 * (probability * target).sum(dim=over) + 1
        total = probability.sum(dim=over) + target.sum(dim=over) + 1
        return functional.binary_cross_entropy_with_logits(logits, target) + 1 - (overlap / total).mean()

    def hub_weights(self) -> dict[str, NDArray[Any]]:
        """The encoder's published weights for ImageNet."""
        encoder = smp.encoders.get_encoder(self.encoder, in_channels=3, weights="imagenet")
        return {f"unet.encoder.{name}": np.asarray(value) for name, value in encoder.state_dict().items()}


class MaskedPictures(Augmented):
    """Pictures and masks as the network sees them: x float32 [3, S, S], y float32 [C, S, S] of 0 and 1."""

    def __init__(self, cases: Sequence[Case], score: SegmenterScore, size: int, train: bool, seed: int) -> None:
        super().__init__(len(cases), train, seed)
        self._cases, self._score, self._size = cases, score, size
        self._kept: dict[int, tuple[ByteArray, ByteArray]] = {}

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels, mask = self._squares(index)
        if (rng := self.rng(index)) is not None:
            matrix = pose(self._size, rng)
            pixels, mask = relit(posed(pixels, matrix), rng), posed(mask, matrix, cv2.INTER_NEAREST)
        return torch.from_numpy(to_input(pixels)), torch.from_numpy(
            segmentation.one_hot(mask, len(self._score.classes))
        )

    def _squares(self, index: int) -> tuple[ByteArray, ByteArray]:
        """uint8 [S, S, 3] BGR and [S, S], letterboxed just as `WholePictureInference` does it."""
        found = self._kept.get(index)
        if found is None:
            case = self._cases[index]
            sample = decode(case.input.read_bytes(), MAX_CASE_PIXELS)
            box = Letterbox.of(sample.width, sample.height, self._size)
            mask = self._score.truth(case.truth).mask
            found = box.fit(sample.pixels), segmentation.fit(mask, box, len(self._score.classes))
            if (len(self._kept) + 1) * sum(one.nbytes for one in found) <= CACHE_BYTES:
                self._kept[index] = found
        return found
