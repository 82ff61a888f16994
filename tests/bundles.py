"""A real bundle in a second, without training: an intensity threshold written down as an ONNX network.

It goes through the same code as a trained one (seal, open, golden check, reference), so tests of the registry, the
services and the monitor can use it in place of a trained version.
"""

from __future__ import annotations

import functools
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from registry.core.files import write_file
from registry.core.media import Prediction
from registry.core.runtime import Engine
from registry.versions.bundle import (
    REFERENCE,
    SAMPLES,
    WEIGHTS,
    Bundle,
    Machine,
    Manifest,
    Score,
    Variant,
    open_bundle,
    seal,
)
from registry.versions.predictor import Predictor, golden_answer

MODEL = "skin_segmentation"
SIZE = 128
REFERENCE_CASES = 40
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 0.8, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]], dtype=np.float64)


def make_scan(seed: int = 0, shape: tuple[int, ...] = (64, 48, 2), noise: float = 0.03, contrast: float = 1.0) -> bytes:
    """A bright ellipse in noise as .nii.gz; `shape` has 2 or 3 axes, voxels are 0.8 x 0.8 x 3 mm, int16."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    a, b = rng.uniform(0.4, 0.7, 2)
    ellipse = ((x / a) ** 2 + (y / b) ** 2 < 1).astype(float)
    image = ellipse if len(shape) == 2 else np.repeat(ellipse[..., None], shape[2], axis=2)
    image = 0.1 + contrast * 0.8 * image + rng.normal(0, noise, shape)
    file = nib.Nifti1Image((1000 * np.clip(image, 0, None)).astype(np.int16), AFFINE)
    return gzip.compress(file.to_bytes(), compresslevel=1, mtime=0)


def make_tiny_bundle(
    folder: Path, version_note: str = "", threshold: float = 0.35, work: int = 0, engine: Engine = "onnxruntime"
) -> Bundle:
    """Builds and seals a bundle in `folder` (which is made). Another note or threshold is another digest.

    `work` adds that many 3x3 convolutions of 32 channels, to make the network as slow as a test needs; they do not
    change what it answers.
    """
    for name, content in _answers(threshold).items():
        write_file(folder / name, content)
    write_file(folder / "network.onnx", _network(threshold, work))
    manifest = draft_manifest(folder, version_note)
    if engine == "openvino":
        import openvino

        openvino.save_model(openvino.convert_model(folder / "network.onnx"), folder / "network.xml", False)
        manifest = manifest.model_copy(update={"engine": engine, "network": "network.xml"})
    seal(folder, manifest)
    return open_bundle(folder)


@functools.cache
def _answers(threshold: float) -> dict[str, bytes]:
    """What a bundle holds beside its network: path in its folder -> content."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_file(folder / "network.onnx", _network(threshold, 0))
        write_weights(folder / WEIGHTS)
        predictor = Predictor(Bundle(folder, draft_manifest(folder, "")), threads=1)
        scans = {"golden-2d": make_scan(7, (64, 48)), "golden-3d": make_scan(7, (64, 48, 3))}
        write_answers(folder, predictor, scans, [make_scan(100 + n, (64, 48)) for n in range(REFERENCE_CASES)])
        return contents(folder)


def write_answers(folder: Path, predictor: Predictor, samples: dict[str, bytes], reference: list[bytes]) -> None:
    for name, body in samples.items():
        write_file(folder / SAMPLES / name / "input", body)
        write_file(folder / SAMPLES / name / "expected.json", json.dumps(golden_answer(predictor(body))))
    write_reference(folder / REFERENCE, [predictor(body) for body in reference])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _network(threshold: float, work: int) -> bytes:
    """Logits 30 * (blurred - threshold) as `mask` [N, 1, H, W], tile means as `embedding` [N, 16]."""
    from onnx import TensorProto, helper, numpy_helper

    shape = ["n", 1, SIZE, SIZE]
    weights = {
        "threshold": np.float32(threshold),
        "gain": np.float32(30),
        "flat": np.array([0, 16], dtype=np.int64),
        "zero": np.float32(0),
    }
    nodes = [
        helper.make_node("AveragePool", ["x"], ["blurred"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["x"], ["tiles"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Reshape", ["tiles", "flat"], ["embedding"]),
        helper.make_node("Sub", ["blurred", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["logits" if work else "mask"]),
    ]
    last, rng = "x", np.random.default_rng(0)
    for n in range(work):
        channels = 1 if n == 0 else 32
        weights[f"w{n}"] = rng.normal(0, 0.05, (32, channels, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{n}"], [f"c{n}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        last = f"c{n}"
    if work:
        nodes.append(helper.make_node("ReduceMean", [last], ["slow"], axes=None, keepdims=1))
        nodes.append(helper.make_node("Mul", ["slow", "zero"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["logits", "nothing"], ["mask"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 16]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def write_weights(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"threshold": np.array([0.35], dtype=np.float32)}, path)


def draft_manifest(folder: Path, note: str) -> Manifest:
    score = Score(value=0.9, low=0.88, high=0.92, cases=REFERENCE_CASES)
    size = (folder / "network.onnx").stat().st_size / 1e6
    return Manifest(
        model=MODEL,
        task="segmentation",
        created=datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        classes=("skin",),
        engine="onnxruntime",
        numerics="f32",
        network="network.onnx",
        input_shape=(1, SIZE, SIZE),
        preprocessing={"image_size": SIZE, "low_percentile": 1.0, "high_percentile": 99.5},
        thresholds={"probability": 0.5},
        metric="dice",
        score=score,
        slices={"origin=starter": score},
        variants=(
            Variant(
                name="tiny",
                engine="onnxruntime",
                numerics="f32",
                score=score,
                p50_ms=1.0,
                p95_ms=1.5,
                size_mb=size,
                macs=SIZE * SIZE * 9,
                parameters=1,
                chosen=True,
                why="the only one",
            ),
        ),
        machine=Machine(cpu="any", flags=(), threads=1, libraries={}),
        data_hash="0" * 32,
        git_commit="0" * 40,
        pretrained="none: an intensity threshold for tests",
        training={"note": note},
    )


def write_reference(path: Path, predictions: list[Prediction]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "case": f"case-{n:03d}",
            "origin": "starter",
            "score": 0.9,
            **{f"image.{k}": v for k, v in one.image_statistics.items()},
            **{f"prediction.{k}": v for k, v in one.prediction_statistics.items()},
            "embedding": one.embedding.tolist(),
        }
        for n, one in enumerate(predictions)
    ]
    table = pa.Table.from_pylist(rows)
    column = table.schema.get_field_index("embedding")
    pq.write_table(table.set_column(column, "embedding", table["embedding"].cast(pa.list_(pa.float32()))), path)
