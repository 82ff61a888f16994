"""Batches: the local engine and Spark beside the best plain loop, and the usual row-wise UDF with an eager network.

    python -m tests.benchmarks.batches [--pictures 1000] [--rounds 5] [--ways loop,local,spark,udf]

The network is MobileNetV2 at 72 px with random weights, exported to ONNX: as heavy as fruit_features' own. The loop is
what one would write by hand: threads that each read, decode, scale, run batches of 32 with a session of one thread, and
keep the features in memory. Rounds are interleaved, since the machine's speed changes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from flows.batch.run import Summary
from flows.batch.run import run as run_batch
from registry.core.runtime import default_threads, open_session
from registry.versions.bundle import Bundle, open_bundle, seal
from registry.vision.picture import Letterbox, to_input, to_jpeg
from tests.flows.batch import feature_bundle

SIZE, BATCH = 72, 32


def make_bundle(folder: Path) -> Bundle:
    """fruit_features with random weights."""
    import torch

    from registry.models.fruit_features import network

    hooks = network.HOOKS
    model = hooks.build({"classes": list(feature_bundle.SPEC.classes), "components": 64})
    model.eval()
    folder.mkdir(parents=True)
    torch.onnx.export(
        model, (torch.zeros(1, 3, SIZE, SIZE),), str(folder / "network.onnx"), input_names=["image"],
        output_names=list(hooks.OUTPUTS), dynamic_axes={"image": {0: "n"}}, dynamo=False,
    )  # fmt: skip
    manifest = feature_bundle._manifest(0)
    seal(folder, manifest.model_copy(update={"input_shape": (3, SIZE, SIZE), "preprocessing": {"image_size": SIZE}}))
    return open_bundle(folder)


def draw(folder: Path, count: int) -> list[Path]:
    """JPEGs of 320 x 240, 15 KB each."""
    folder.mkdir(parents=True)
    paths = []
    for n in range(count):
        small = np.random.default_rng(n).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        paths.append(folder / f"{n:06d}.jpg")
        paths[-1].write_bytes(to_jpeg(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC)))
    return paths


def loop(paths: Sequence[Path], bundle: Bundle) -> None:
    """The best plain loop: no check of anything, and nothing written."""
    count = default_threads()

    def work(mine: Sequence[Path]) -> list[np.ndarray]:
        network, found = open_session(bundle.path / "network.onnx", "onnxruntime", "f32", 1), []
        for start in range(0, len(mine), BATCH):
            batch = []
            for path in mine[start : start + BATCH]:
                pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
                letterbox = Letterbox.of(pixels.shape[1], pixels.shape[0], SIZE)
                batch.append(to_input(letterbox.fit(pixels)))
            found.append(network(np.stack(batch))["embedding"])
        return found

    with ThreadPoolExecutor(count) as pool:
        assert sum(len(part) for part in pool.map(work, [paths[n::count] for n in range(count)]))


def engine(name: str) -> Callable[[Sequence[Path], Bundle], None]:
    """The whole command but for asking the registry: listing, parts of Parquet, the last file."""
    if name == "spark":
        from flows.spark import engine as chosen
    else:
        from flows.batch import local as chosen  # type: ignore[no-redef]

    def run(paths: Sequence[Path], bundle: Bundle) -> None:
        with tempfile.TemporaryDirectory() as out:
            version = feature_bundle.version_of(bundle)
            done: Summary = run_batch(str(paths[0].parent), out, version, bundle.path, engine=chosen)
            assert (done.done, done.rejected) == (len(paths), 0)

    return run


_eager: list[object] = []


def eager_features(path: str) -> list[float]:
    """What people write first: a row at a time, the framework's own network, all its threads."""
    import torch

    from registry.models.fruit_features import network

    if not _eager:
        model = network.HOOKS.build({"classes": list(feature_bundle.SPEC.classes), "components": 64})
        _eager.append(model.eval())
    pixels = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
    batch = to_input(Letterbox.of(pixels.shape[1], pixels.shape[0], SIZE).fit(pixels))[None]
    with torch.inference_mode():
        found = _eager[0](torch.from_numpy(batch))  # type: ignore[operator]
    return found[1][0].tolist()  # type: ignore[no-any-return]


def row_wise(paths: Sequence[Path], bundle: Bundle) -> None:
    from pyspark.sql.functions import udf

    from flows.spark.session import session

    with session("row-wise", 0) as spark, tempfile.TemporaryDirectory() as out:
        frame = spark.createDataFrame([(str(path),) for path in paths], "path string").repartition(
            2 * default_threads()
        )
        features = udf(eager_features, "array<float>")
        frame.select("path", features("path").alias("features")).write.parquet(f"{out}/rows")


def session_start(paths: Sequence[Path], bundle: Bundle) -> None:
    """A session that does nothing. Within this process the JVM runs already after the first."""
    from flows.spark.session import session

    with session("nothing", 0) as spark:
        spark.range(2).count()


WAYS = {"loop": loop, "local": engine("local"), "udf": row_wise, "session": session_start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default="loop,local")
    asked = parser.parse_args()
    ways = asked.ways.split(",")
    with tempfile.TemporaryDirectory() as place:
        bundle = make_bundle(Path(place, "bundle"))
        paths = draw(Path(place, "pictures"), asked.pictures)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(asked.rounds + 1):
            for name in ways:
                way = engine("spark") if name == "spark" else WAYS[name]
                began = time.perf_counter()
                way(paths, bundle)
                seconds = time.perf_counter() - began
                print(f"round {number} {name} {seconds:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
                if number:  # the first imports, and starts the JVM
                    took[name].append(seconds)
    for name, times in took.items():
        ratios = [took[ways[0]][n] / seconds for n, seconds in enumerate(times)]
        print(
            f"{name}: {len(paths) / statistics.median(times):.1f} pictures/s, as fast as {ways[0]} x "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
