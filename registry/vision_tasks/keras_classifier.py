"""Training hooks of a classifier: MobileNetV2 (Sandler 2018, arXiv:1801.04381) as `keras.applications` builds it.

Keras is imported where it is used: the constants are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import KerasHooks
from registry.core.errors import SettingsError
from registry.core.media import Parameters
from registry.vision_tasks.classifier_hooks import SMOOTHING, ClassifierHooks

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


class KerasClassifier(ClassifierHooks, KerasHooks):
    """Hooks of a classifier in Keras. Its last layer is named `classes` and gives the logits, the first output."""

    CHANNELS_LAST = True

    def head(self) -> tuple[str, ...]:
        return "classes/kernel", "classes/bias"

    def loss(self, outputs: Sequence[Any], target: Any) -> Any:
        """Cross-entropy with label smoothing over the logits, float32 [N, C]; `target` int64 [N]."""
        from keras import losses, ops

        classes = outputs[0].shape[-1]
        wanted = ops.one_hot(target, classes) * (1 - SMOOTHING) + SMOOTHING / classes
        return ops.mean(losses.categorical_crossentropy(wanted, outputs[0], from_logits=True))

    def keep(self, model: Any) -> list[str]:
        """The last layer: its units are the classes."""
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
        super().__init__(spec)

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
        logits = layers.Dense(len(self.classes(params)), name="classes")(dropped)
        model = Model(image, [logits, features], name=self.spec.name)
        _start(model)
        return model

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
