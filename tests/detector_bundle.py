"""A real detector bundle in a second, without training: its network finds what is red and what is white.

It draws the box around all red pixels as `sports ball`, around all white ones as `book`; what `tests.clips.scene` shows
is found to the pixel. Sealed, opened and checked by the same code as a trained one.
"""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from registry.boxes import mean_ap
from registry.boxes.labels import TrueBoxes
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.files import write_file
from registry.versions.bundle import WEIGHTS, Bundle, Manifest, open_bundle, seal
from registry.versions.predictor import Predictor
from registry.vision.picture import to_jpeg
from tests import bundles
from tests.clips import scene

SIZE = 96
RED, WHITE = "sports ball", "book"


def make_detector_bundle(folder: Path, spec: ModelSpec, work: int = 0) -> Bundle:
    """Builds and seals a bundle of `spec` (a detector that knows `RED` and `WHITE`) in `folder`, which is made.

    `work` adds that many convolutions of 32 channels, which change nothing but how long it takes.
    """
    for name, content in _answers(spec.name).items():
        write_file(folder / name, content)
    write_file(folder / "network.onnx", network(spec.classes, work))
    seal(folder, _manifest(folder, spec))
    return open_bundle(folder)


@functools.cache
def _answers(model: str) -> dict[str, bytes]:
    """As in `tests.bundles`."""
    spec = catalog.get(model)
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_file(folder / "network.onnx", network(spec.classes))
        bundles.write_weights(folder / WEIGHTS)
        predictor = Predictor(Bundle(folder, _manifest(folder, spec)), threads=1)
        pictures = [to_jpeg(scene(n, 160, 120)) for n in range(bundles.REFERENCE_CASES)]
        bundles.write_answers(folder, predictor, {"golden": to_jpeg(scene(4, 160, 120), 95)}, pictures)
        _write_curve(folder, predictor, pictures)
        return bundles.contents(folder)


def _write_curve(folder: Path, predictor: Predictor, pictures: list[bytes]) -> None:
    """As measured where only `WHITE` is true, so that half of the boxes are right."""
    results = [predictor(body).result for body in pictures]
    white = predictor.spec.classes.index(WHITE)
    truths = []
    for found in results:
        true = found.take(found.classes == white)
        shares = np.asarray(true.boxes / np.float32([found.width, found.height] * 2), np.float32)
        truths.append(TrueBoxes(shares, true.classes))
    mean_ap.curve(results, truths).write(folder)


def _manifest(folder: Path, spec: ModelSpec) -> Manifest:
    return bundles.draft_manifest(folder, "detector").model_copy(
        update={
            "model": spec.name,
            "task": spec.task,
            "classes": spec.classes,
            "input_shape": (3, SIZE, SIZE),
            "preprocessing": {"image_size": SIZE},
            "thresholds": {"score": 0.25, "iou": 0.6},
            "metric": spec.metric.name,
        }
    )


def network(classes: tuple[str, ...], work: int = 0) -> bytes:
    """`predictions` [N, 4 + C, 2] (the red box, the white box; corners in pixels) and `embedding` [N, 3] as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    hot = np.zeros((2, 1, len(classes), 1), np.float32)
    hot[0, 0, classes.index(RED)] = hot[1, 0, classes.index(WHITE)] = 1
    weights: dict[str, np.ndarray] = {
        **{f"c{n}": np.array([n], np.int64) for n in range(3)},
        "c3": np.array([3], np.int64),
        "axis1": np.array([1], np.int64),
        "at": np.arange(SIZE, dtype=np.float32)[None],
        "one": np.float32(1),
        "size": np.float32(SIZE),
        "sure": np.float32(0.9),
        "red_limit": np.float32(0.3),
        "white_limit": np.float32(0.8),
        "hot0": hot[0],
        "hot1": hot[1],
    }
    nodes = []

    def add(kind: str, inputs: list[str], output: str, **options: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    for n, name in enumerate(("r", "g", "b")):
        add("Slice", ["image", f"c{n}", f"c{n + 1}", "axis1"], f"{name}4")
        add("Squeeze", [f"{name}4", "axis1"], name)
    add("Sub", ["r", add("Max", ["g", "b"], "gb")], "redness")
    add("Min", ["r", "g", "b"], "whiteness")
    for n, (value, limit) in enumerate((("redness", "red_limit"), ("whiteness", "white_limit"))):
        add("Cast", [add("Greater", [value, limit], f"is{n}")], f"mask{n}", to=TensorProto.FLOAT)
        edges = []
        for axis, name in ((1, "x"), (2, "y")):
            line = add("ReduceMax", [f"mask{n}"], f"line{name}{n}", axes=[axis], keepdims=0)
            there = add("Mul", [add("Sub", ["one", line], f"not{name}{n}"), "size"], f"far{name}{n}")
            low = add("ReduceMin", [add("Add", ["at", there], f"from{name}{n}")], f"low{name}{n}", axes=[1])
            after = add("Mul", [add("Add", ["at", "one"], f"next{name}{n}"), line], f"to{name}{n}")
            edges += [low, add("ReduceMax", [after], f"high{name}{n}", axes=[1])]
        add("Concat", [edges[0], edges[2], edges[1], edges[3]], f"flatbox{n}", axis=1)
        add("Unsqueeze", [f"flatbox{n}", "c2"], f"box{n}")
        top = add("ReduceMax", [f"linex{n}"], f"any{n}", axes=[1])
        score = add("Unsqueeze", [add("Mul", [top, "sure"], f"flatscore{n}"), "c2"], f"score{n}")
        add("Concat", [f"box{n}", add("Mul", [score, f"hot{n}"], f"classes{n}")], f"anchor{n}", axis=1)
    last = "image"
    for n in range(work):
        weights[f"w{n}"] = np.random.default_rng(n).normal(0, 0.05, (32, 3 if n == 0 else 32, 3, 3)).astype(np.float32)
        last = add("Conv", [last, f"w{n}"], f"conv{n}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    add("ReduceMean", ["image"], "mean", axes=[2, 3], keepdims=0)
    if work:
        weights["nothing"] = np.float32(0)
        slow = add("Mul", [add("ReduceMean", [last], "slow", axes=[1, 2, 3], keepdims=0), "nothing"], "zero")
        add("Add", ["mean", add("Unsqueeze", [slow, "axis1"], "zero2")], "embedding")
    else:
        add("Identity", ["mean"], "embedding")
    add("Concat", ["anchor0", "anchor1"], "predictions", axis=2)
    graph = helper.make_graph(
        nodes,
        "red and white",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("predictions", TensorProto.FLOAT, ["n", 4 + len(classes), 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())
