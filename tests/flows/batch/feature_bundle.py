"""A bundle of fruit_features in a second, without training: features are fixed mixtures of the picture's colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.models.fruit_features import SPEC
from registry.versions.bundle import Bundle, Machine, Manifest, Score, Variant, open_bundle, seal
from registry.versions.mlflow_registry import Version

SIZE, FEATURES, COMPONENTS = 48, 1280, 64


def make_feature_bundle(folder: Path, seed: int = 0) -> Bundle:
    """`embedding` is ReLU(mean colours of 16 tiles x W), the other outputs are linear in it."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    count = len(SPEC.classes)
    weights = {
        "flat": np.array([0, 48], dtype=np.int64),
        "w": rng.normal(0, 0.2, (48, FEATURES)).astype(np.float32),
        "head": rng.normal(0, 0.2, (FEATURES, count)).astype(np.float32),
        "p": rng.normal(0, 0.03, (FEATURES, COMPONENTS)).astype(np.float32),
        "far": np.abs(rng.normal(0, 0.03, (FEATURES, count))).astype(np.float32),
    }
    nodes = [
        helper.make_node("AveragePool", ["image"], ["tiles"], kernel_shape=[12, 12], strides=[12, 12]),
        helper.make_node("Reshape", ["tiles", "flat"], ["colours"]),
        helper.make_node("MatMul", ["colours", "w"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["logits"]),
        helper.make_node("MatMul", ["embedding", "p"], ["pca"]),
        helper.make_node("MatMul", ["embedding", "far"], ["nearest"]),
    ]
    outputs = {"logits": count, "embedding": FEATURES, "pca": COMPONENTS, "nearest": count}
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    folder.mkdir(parents=True)
    (folder / "network.onnx").write_bytes(model.SerializeToString())
    seal(folder, _manifest(seed))
    return open_bundle(folder)


def version_of(bundle: Bundle, number: int = 1) -> Version:
    """As the registry would name it."""
    return Version(bundle.manifest.model, number, "", bundle.digest, ("champion",), 0.0)


def _manifest(seed: int) -> Manifest:
    score = Score(value=0.9, low=0.8, high=1.0, cases=10)
    return Manifest(
        model=SPEC.name,
        task=SPEC.task,
        created="2026-01-01T00:00:00+00:00",
        classes=SPEC.classes,
        engine="onnxruntime",
        numerics="f32",
        network="network.onnx",
        input_shape=(3, SIZE, SIZE),
        preprocessing={"image_size": SIZE},
        thresholds={"classes": list(SPEC.classes)},
        metric=SPEC.metric.name,
        score=score,
        slices={},
        variants=(
            Variant(
                name="colours",
                engine="onnxruntime",
                numerics="f32",
                score=score,
                p50_ms=0.1,
                p95_ms=0.1,
                size_mb=1.0,
                macs=1,
                parameters=1,
                chosen=True,
            ),
        ),
        machine=Machine(cpu="any", flags=(), threads=1, libraries={}),
        data_hash="0" * 32,
        git_commit="0" * 40,
        pretrained="none: colours for tests",
        training={"seed": seed},
    )
