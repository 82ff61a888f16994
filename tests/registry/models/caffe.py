"""Caffe networks for tests: a description and, written by hand as protobuf, its weights, in the form of 2015."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CONVOLUTION, INNER_PRODUCT = 4, 14  # V1LayerParameter.LayerType of caffe.proto
SIDE = 227

_CONVOLUTION = """
layers {{ name: "conv{n}" type: CONVOLUTION bottom: "{bottom}" top: "conv{n}"
  convolution_param {{ num_output: {count} kernel_size: {kernel} stride: {stride} pad: {pad} }} }}
layers {{ name: "relu{n}" type: RELU bottom: "conv{n}" top: "conv{n}" }}
layers {{ name: "pool{n}" type: POOLING bottom: "conv{n}" top: "pool{n}"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}"""
_NORMAL = """
layers {{ name: "norm{n}" type: LRN bottom: "pool{n}" top: "norm{n}"
  lrn_param {{ local_size: 5 alpha: 0.0001 beta: 0.75 }} }}"""
_DENSE = """
layers {{ name: "{name}" type: INNER_PRODUCT bottom: "{bottom}" top: "{name}"
  inner_product_param {{ num_output: {count} }} }}"""


def make_gender_net(
    architecture: Path,
    weights: Path,
    outputs: int = 2,
    channels: tuple[int, int, int] = (8, 12, 16),
    hidden: int = 24,
    bias: float = 0.0,
    seed: int = 0,
) -> None:
    """Levi and Hassner's layout (theirs: channels 96, 256, 384, hidden 512) with random weights; `bias` favours the
    first class."""
    rng = np.random.default_rng(seed)
    text = f'name: "CaffeNet"\ninput: "data"\ninput_dim: 10\ninput_dim: 3\ninput_dim: {SIDE}\ninput_dim: {SIDE}'
    layers, bottom, before = b"", "data", 3
    for n, (count, kernel, stride, pad) in enumerate(zip(channels, (7, 5, 3), (4, 1, 1), (0, 2, 1), strict=True), 1):
        text += _CONVOLUTION.format(n=n, bottom=bottom, count=count, kernel=kernel, stride=stride, pad=pad)
        bottom = f"pool{n}"
        if n < 3:
            text += _NORMAL.format(n=n)
            bottom = f"norm{n}"
        kernels = rng.normal(0, (2 / (before * kernel**2)) ** 0.5, (count, before, kernel, kernel))
        layers += _layer(f"conv{n}", CONVOLUTION, kernels, rng.normal(0, 1, (1, 1, 1, count)))
        before = count
    before *= 7 * 7
    for name, count in (("fc6", hidden), ("fc7", hidden), ("fc8", outputs)):
        text += _DENSE.format(name=name, bottom=bottom, count=count)
        matrix = rng.normal(0, (1 / before) ** 0.5 / (1000 if name == "fc8" else 1), (1, 1, count, before))
        lift = np.eye(1, count)[None, None] * bias * (name == "fc8")
        layers += _layer(name, INNER_PRODUCT, matrix, lift)
        bottom, before = name, count
    text += f'\nlayers {{ name: "prob" type: SOFTMAX bottom: "{bottom}" top: "prob" }}\n'
    architecture.parent.mkdir(parents=True, exist_ok=True)
    architecture.write_text(text)
    weights.write_bytes(_field(1, b"CaffeNet") + layers)


def _layer(name: str, kind: int, *arrays: np.ndarray) -> bytes:
    blobs = b"".join(_field(6, _blob(array)) for array in arrays)
    return _field(2, _field(4, name.encode()) + _number(5, kind) + blobs)


def _blob(array: np.ndarray) -> bytes:
    shape = b"".join(_number(place, size) for place, size in enumerate(array.shape, 1))
    return shape + _field(5, np.ascontiguousarray(array, "<f4").tobytes())


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
