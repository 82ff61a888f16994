"""The hooks of `TorchEngine` for detectors of the package ultralytics: YOLOv5, YOLOv8 and their kin.

From ultralytics come the architecture (a yaml in the package) and the loss; the loop, the data and the export are ours:
none of its callbacks, downloads or settings takes part. A model names its architecture
(`registry.contract.hooks.UltralyticsNetwork`), and in its parameters, besides what the engine reads, `image_size`,
`score`, `iou`, those of `training.engines.mosaic`, and `architecture` where it is to be another one.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from registry.contract.hooks import TorchHooks, UltralyticsNetwork
from registry.contract.spec import ModelSpec
from registry.core.media import Case, Parameters
from training.engines import mosaic

GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)  # weights of the three losses, ultralytics' defaults
HUB = "https://github.com/ultralytics/assets/releases/download/v8.4.0/"


class SplitC2f(nn.Module):
    """ultralytics' C2f (and C3k2) with its first convolution split in two; numerically the same.

    C2f halves the output of `cv1` and sends one half through the bottlenecks. torch-pruning does not see that split and
    would remove the same channels from both halves, although they are independent.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        half = block.cv1.conv.out_channels // 2
        self.cv0 = _rows(block.cv1, slice(0, half))
        self.cv1 = _rows(block.cv1, slice(half, None))
        self.cv2, self.m = block.cv2, block.m
        self.i, self.f, self.type, self.np = block.i, block.f, block.type, block.np

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C, H, W] -> [N, C', H, W]."""
        parts = [self.cv0(x), self.cv1(x)]
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))  # type: ignore[no-any-return]


def _rows(conv: Any, rows: slice) -> nn.Module:
    """A `Conv` with some of the output channels of another."""
    from ultralytics.nn.modules import Conv

    old = conv.conv
    count = len(range(*rows.indices(old.out_channels)))
    new = Conv(old.in_channels, count, old.kernel_size[0], old.stride[0], act=conv.act)
    new.bn.eps, new.bn.momentum = conv.bn.eps, conv.bn.momentum
    with torch.no_grad():
        new.conv.weight.copy_(old.weight[rows])
        for key, value in conv.bn.state_dict().items():
            new.bn.state_dict()[key].copy_(value[rows] if value.ndim else value)
    return new  # type: ignore[no-any-return]


class Yolo(nn.Module):
    """A detector. In eval mode x float32 [N, 3, S, S] -> predictions [N, 4 + C, A], boxes x1 y1 x2 y2 in pixels and
    class probabilities, and embedding [N, D], the pooled features of the backbone's last stage; while training, what
    `YoloHooks.loss` takes. Names in the state dict are ultralytics' own but for `cv0` of `SplitC2f`.
    """

    def __init__(self, architecture: str, classes: int) -> None:
        super().__init__()
        from ultralytics.nn.modules import SPPF, C2f
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils import LOGGER

        LOGGER.setLevel(logging.ERROR)  # it prints the class count and the like

        net = DetectionModel(architecture, ch=3, nc=classes, verbose=False)
        self.model: Any = net.model
        self.save = frozenset(net.save)
        for number, block in enumerate(self.model):
            if isinstance(block, C2f):
                self.model[number] = SplitC2f(block)
        self.pooled = max(block.i for block in self.model if isinstance(block, SPPF))
        self.head.export = self.head.xyxy = True
        self._criterion: Any = None

    @property
    def head(self) -> Any:
        return self.model[-1]

    def forward(self, x: Tensor) -> Any:
        features, embedding = self.features(x)
        if self.training:
            return self.criterion(), self.head(features)
        return self.head(features), embedding

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The inputs of the head, and the embedding."""
        kept: list[Tensor | None] = []
        value: Any = x
        embedding = x
        for block in self.model[:-1]:
            value = block(self._input(block, value, kept))
            kept.append(value if block.i in self.save else None)
            if block.i == self.pooled:
                embedding = value.mean(dim=(2, 3))
        return self._input(self.head, value, kept), embedding

    def _input(self, block: Any, last: Any, kept: Sequence[Any]) -> Any:
        if block.f == -1:
            return last
        return kept[block.f] if isinstance(block.f, int) else [last if j == -1 else kept[j] for j in block.f]

    def criterion(self) -> Any:
        """ultralytics' loss for this head, on the network's device."""
        device = next(self.parameters()).device
        if self._criterion is None or self._criterion.device != device:
            from ultralytics.utils.loss import v8DetectionLoss

            owner = SimpleNamespace(parameters=self.parameters, args=GAINS, model=self.model)
            self._criterion = v8DetectionLoss(owner)
        return self._criterion

    def _apply(self, fn: Any, recurse: bool = True) -> Yolo:
        # The head's strides and anchors are neither parameters nor buffers.
        super()._apply(fn, recurse)
        self.head.stride, self.head.anchors, self.head.strides = map(
            fn, (self.head.stride, self.head.anchors, self.head.strides)
        )
        self.head.shape = None
        return self


@torch.no_grad()
def set_first_biases(head: Any, size: int, classes: int) -> None:
    """Sets the biases of the last layers for pictures of this size.

    ultralytics' biases expect five objects in a picture of 640 pixels, and boxes of 15 strides. At 160 pixels one such
    box fills the picture, and the first hundred steps would only unlearn that. Distances are the mean of a distribution
    over bins. A bias that falls by a constant from bin to bin makes it geometric, with a mean that shrinks with the
    picture. At 640 pixels this equals ultralytics' own.
    """
    bins = torch.arange(head.reg_max)
    uniform = (head.reg_max - 1) / 2
    mean = uniform * min(1.0, size / 640)
    fall = math.log((1 + mean) / mean) - math.log((1 + uniform) / uniform)
    for box, kind, stride in zip(head.cv2, head.cv3, head.stride, strict=True):
        box[-1].bias.copy_((2.0 - fall * bins).repeat(4))
        kind[-1].bias.fill_(math.log(5 / classes / (size / float(stride)) ** 2))


class YoloHooks(TorchHooks):
    """The hooks of a model whose framework is ultralytics."""

    def __init__(self, spec: ModelSpec) -> None:
        assert isinstance(spec.network, UltralyticsNetwork)
        self.OUTPUTS = spec.network.OUTPUTS
        self.spec, self.network, self.architecture = spec, spec.network, spec.network.ARCHITECTURE

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        return self.network.input_shape(params)

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return self.network.preprocessing(params)

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return self.network.thresholds(params)

    def collate(self, items: list[Any]) -> Any:
        return mosaic.collate(items)

    def build(self, params: Parameters) -> Yolo:
        """A network with random weights, with first biases for pictures of this size."""
        model = Yolo(str(params.get("architecture", self.architecture)), len(self.spec.classes))
        set_first_biases(model.head, int(params["image_size"]), len(self.spec.classes))
        return model

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> mosaic.Scenes:
        return mosaic.Scenes(cases, self.spec.score.truth, params, train, seed)

    def loss(self, outputs: tuple[Any, dict[str, Tensor]], target: Tensor) -> Tensor:
        """Box (CIoU), class and distribution focal loss per picture; `target` as `mosaic.collate` makes it."""
        criterion, predictions = outputs
        batch = {"batch_idx": target[:, 0], "cls": target[:, 1], "bboxes": target[:, 2:]}
        return criterion(predictions, batch)[0].sum() / len(predictions["boxes"])  # type: ignore[no-any-return]

    def raw(self, model: Yolo, x: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """What `loss` takes, of a network in eval mode."""
        features, _ = model.features(x)
        return model.criterion(), model.head.forward_head(features, **model.head.one2many)

    def keep(self, model: Yolo) -> list[nn.Module]:
        """The last convolution of each of the head's branches, and the fixed one that reads distances from bins."""
        branches = [*model.head.cv2, *model.head.cv3]
        return [
            *(branch[-1] for branch in branches),
            *(m for m in model.head.dfl.modules() if isinstance(m, nn.Conv2d)),
        ]

    def rename(self, weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Weights of ultralytics or of the original YOLOv5 under the names that they have here."""
        found: dict[str, NDArray[Any]] = {}
        plain = {f"model.{name.split('model.')[-1]}": value for name, value in weights.items() if "model." in name}
        whole = {
            name.split(".m.0.")[0]
            for name in plain
            if ".m.0." in name and f"{name.split('.m.0.')[0]}.cv3.conv.weight" not in plain
        }
        for name, value in plain.items():
            block, _, rest = name.partition(".cv1.")
            if block not in whole or f"{block}.cv0.conv.weight" in plain:
                found[name] = value
            elif value.ndim:
                half = len(value) // 2
                found[f"{block}.cv0.{rest}"], found[f"{block}.cv1.{rest}"] = value[:half], value[half:]
            else:
                found[f"{block}.cv0.{rest}"] = found[name] = value
        return found

    def hub_weights(self) -> dict[str, NDArray[Any]]:
        """The published COCO weights of this architecture. They are a pickle of ultralytics' own classes."""
        from ultralytics.nn.tasks import load_checkpoint

        name = Path(self.architecture).stem
        file = f"{name}u.pt" if name.startswith("yolov5") else f"{name}.pt"
        with tempfile.TemporaryDirectory() as folder:
            torch.hub.download_url_to_file(HUB + file, f"{folder}/{file}", progress=False)
            network, _ = load_checkpoint(f"{folder}/{file}")
        return {key: value.float().cpu().numpy() for key, value in network.state_dict().items()}
