"""Keras network -> ONNX, by tf2onnx. From there on everything is as for other frameworks
(`training.export.onnx_export`)."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.export.onnx_export import INPUT, OPSET
from training.workspace.keras_framework import framework


@contextlib.contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Silences the warnings of these loggers and of Python."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in loggers}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def to_onnx(network: Any, outputs: Sequence[str], shape: tuple[int, ...], path: Path) -> Path:
    """Writes `path`: input `image` float32 [N, C, H, W], outputs as named. Weights are inside.

    tf2onnx moves the one transpose at the input through the graph until it meets those that convolutions bring, so that
    none is left between layers.
    """
    tf, _ = framework()
    with _quiet("tensorflow"):
        import tf2onnx

    signature = [tf.TensorSpec((None, *shape), tf.float32, name=INPUT)]

    @tf.function(input_signature=signature)
    def named(image: Any) -> dict[str, Any]:
        values = network(tf.transpose(image, (0, 2, 3, 1)), training=False)
        return {name: tf.identity(value, name=name) for name, value in zip(outputs, values, strict=True)}

    with contextlib.redirect_stdout(io.StringIO()), _quiet("tf2onnx", "tensorflow", "root"):
        tf2onnx.convert.from_function(named, input_signature=signature, opset=OPSET, output_path=str(path))
    return path
