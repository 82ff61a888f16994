"""The loss of classifiers that Keras trains; it is imported where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SMOOTHING = 0.05  # of labels (Szegedy 2016): probabilities stay honest on a small data set


def loss(outputs: Sequence[Any], target: Any) -> Any:
    """Cross-entropy with label smoothing over the logits, the first output, float32 [N, C]; `target` int64 [N]."""
    from keras import losses, ops

    classes = outputs[0].shape[-1]
    wanted = ops.one_hot(target, classes) * (1 - SMOOTHING) + SMOOTHING / classes
    return ops.mean(losses.categorical_crossentropy(wanted, outputs[0], from_logits=True))
