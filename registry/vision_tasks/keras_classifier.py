"""Training hooks of a classifier: MobileNetV2 (Sandler 2018, arXiv:1801.04381) as `keras.applications` builds it.

Keras is imported where it is used: the constants are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Examples, KerasHooks
from registry.core.errors import SettingsError
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, FloatArray, Parameters
from registry.vision.picture import Letterbox, decode, to_input

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

OUTPUTS = ("logits", "embedding")


SMOOTHING = 0.05  # of labels (Szegedy 2016): probabilities stay honest on a small data set


class KerasClassifier(KerasHooks):
    """Hooks of a classifier in Keras, whose first output is the logits."""

    OUTPUTS = OUTPUTS

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        size = int(params["image_size"])
        return 3, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return {"image_size": int(params["image_size"])}

    def loss(self, outputs: Sequence[Any], target: Any) -> Any:
        """Cross-entropy with label smoothing over the logits, float32 [N, C]; `target` int64 [N]."""
        from keras import losses, ops

        classes = outputs[0].shape[-1]
        wanted = ops.one_hot(target, classes) * (1 - SMOOTHING) + SMOOTHING / classes
        return ops.mean(losses.categorical_crossentropy(wanted, outputs[0], from_logits=True))

    def keep(self, model: Any) -> list[str]:
        """The last layer, named `classes`: its units are the classes."""
        return ["classes"]


class MobileNet(KerasClassifier):
    """MobileNetV2 for the classes of a model.

    Raises:
        SettingsError: `architecture` is another one.
    """

    def __init__(self, spec: ModelSpec, architecture: str = "mobilenet_v2") -> None:
        if architecture != "mobilenet_v2":
            raise SettingsError(
                f"the network of {spec.name} is keras/{architecture}",
                expected="keras/mobilenet_v2",
                fix=f"correct registry/models/{spec.name}/model.py",
            )
        self.name, self.classes = spec.name, spec.classes

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


class Pictures(Examples):
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
