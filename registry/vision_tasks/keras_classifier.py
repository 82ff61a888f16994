"""Training hooks of a classifier: MobileNetV2 (Sandler 2018, arXiv:1801.04381) as `keras.applications` builds it.

A model's `network.py` makes a `MobileNet` of its classes and offers its methods as hooks. Keras is imported where it is
used: the constants are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, FloatArray, Parameters
from registry.vision.picture import Letterbox, decode, to_input

OUTPUTS = ("logits", "embedding")


@dataclass(frozen=True)
class MobileNet:
    """The hooks of a model.

    Attributes:
        name: of the model.
        classes: C names, in the order of the logits.
        defaults: of what the bundle has as `preprocessing`.
    """

    name: str
    classes: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        size = int(params["image_size"])
        return 3, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return {**self.defaults, "image_size": int(params["image_size"])}

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        """None: the most probable class is named, whatever its probability."""
        return {}

    def build(self, params: Parameters) -> Any:
        """float32 [N, S, S, 3] in [0, 1] -> logits [N, C], embedding [N, 1280]; random weights.

        `alpha` is the width of every layer but the last against MobileNetV2 1.0, `dropout` (default 0.2) stands before
        the classes.
        """
        from keras import Model, applications, layers

        _, height, width = self.input_shape(params)
        image = layers.Input((height, width, 3), name="pixels")
        scaled = layers.Rescaling(2.0, -1.0, name="to_minus_one_and_one")(image)  # what MobileNetV2's weights expect
        base = applications.MobileNetV2(
            input_tensor=scaled, alpha=float(params.get("alpha", 1.0)), include_top=False, weights=None
        )
        features = layers.GlobalAveragePooling2D(name="features")(base.output)
        dropped = layers.Dropout(float(params.get("dropout", 0.2)), name="dropout")(features)
        logits = layers.Dense(len(self.classes), name="classes")(dropped)
        model = Model(image, [logits, features], name=self.name)
        _start(model)
        return model

    def keep(self, model: Any) -> list[str]:
        """The last layer: its units are the classes."""
        return ["classes"]

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Pictures:
        return Pictures(cases, self.classes, int(params["image_size"]), train, seed)

    def hub_weights(self) -> Mapping[str, NDArray[Any]]:
        """MobileNetV2 1.0 on ImageNet from Keras' own hub; what does not fit the width is left out by the engine."""
        from keras import applications

        model = applications.MobileNetV2(include_top=False, weights="imagenet")
        return {variable.path: np.asarray(variable) for variable in model.weights}


def _start(model: Any) -> None:
    """Random weights to learn quickly from. Keras' own (Glorot) make depthwise filters so small that each step of Adam
    turns them over: He 2015 (arXiv:1502.01852) by the filter's own inputs. Residual branches begin at nothing (zero
    gamma, Goyal 2017, arXiv:1706.02677), so that the network is shallow at first."""
    from keras import initializers, layers

    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            spread = (2 / np.prod(layer.kernel.shape[:2])) ** 0.5
            layer.kernel.assign(initializers.RandomNormal(stddev=spread)(layer.kernel.shape))
        elif isinstance(layer, layers.Conv2D):
            layer.kernel.assign(initializers.HeNormal()(layer.kernel.shape))
        elif isinstance(layer, layers.Add):
            branch = model.get_layer(layer.name.replace("_add", "_project_BN"))
            branch.gamma.assign(np.zeros(branch.gamma.shape, np.float32))


class Pictures:
    """Every case, letterboxed once and kept as uint8: (x float32 [S, S, 3] RGB in [0, 1], class number).

    With `train`, each access draws an augmentation from (seed, epoch, index), so that a run can be repeated.
    """

    def __init__(self, cases: Sequence[Case], classes: Sequence[str], size: int, train: bool, seed: int) -> None:
        number = {name: n for n, name in enumerate(classes)}
        self.images: list[ByteArray] = []
        for case in cases:
            pixels = decode(case.input.read_bytes(), MAX_CASE_PIXELS).pixels
            self.images.append(Letterbox.of(pixels.shape[1], pixels.shape[0], size).fit(pixels))
        self.labels = np.array([number[str(case.truth)] for case in cases], dtype=np.int64)
        self._train, self._seed, self._epoch = train, seed, 0

    def __len__(self) -> int:
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __getitem__(self, index: int) -> tuple[FloatArray, np.int64]:
        image = self.images[index]
        if self._train:
            image = augment(image, np.random.default_rng([self._seed, self._epoch, index]))
        return np.ascontiguousarray(to_input(image).transpose(1, 2, 0)), self.labels[index]


def augment(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    """Another pose, other light. Mild on purpose: what a camera has never done
    is for the drift monitor to notice."""
    size = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), rng.uniform(-12, 12), rng.uniform(0.9, 1.15))
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * size
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    posed = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    gains = rng.normal(1, 0.03, 3) * rng.uniform(0.85, 1.15)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(posed, np.ascontiguousarray(table[None])), dtype=np.uint8)
