"""Runs a loaded bundle: bytes in, prediction out. Training, evaluation, MLflow's pyfunc and the services all use it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, BundleError
from registry.core.media import Clip, FloatArray, OnProgress, Parameters, Prediction, Prepared
from registry.core.runtime import open_session
from registry.versions.bundle import ASSETS, Bundle, open_bundle

EMBEDDING = "embedding"
"""Every exported network has this output, float32 [N, D]: pooled features of its last encoder stage."""

CHUNK = 16
"""Slices or frames that go through the network at once. Each takes some 10 MB of activations."""

# CPUs round differently. Broken preprocessing or a wrong file is off by far more than this.
GOLDEN_RELATIVE, GOLDEN_ABSOLUTE = 0.03, 0.01


class Predictor:
    """Predicts inputs of at most `limit` voxels or pixels. Safe to call from several threads."""

    def __init__(self, bundle: Bundle, threads: int = 0, limit: int = 64_000_000) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.spec: ModelSpec = catalog.get(manifest.model)
        self._limit = limit
        self._network = open_session(bundle.path / manifest.network, manifest.engine, manifest.numerics, threads)
        self._inference = self.spec.inference
        assets = bundle.path / ASSETS
        self._constants = {
            **manifest.preprocessing,
            **({"assets": str(assets)} if assets.is_dir() else {}),
            "size_mb": manifest.chosen.size_mb,  # some models answer with their size
        }

    @classmethod
    def load(cls, path: Path, threads: int = 0, limit: int = 64_000_000) -> Predictor:
        """Opens, verifies and compiles. Raises BundleError."""
        return cls(open_bundle(path), threads, limit)

    def __call__(
        self,
        body: bytes,
        media: str = "application/json",
        on_progress: OnProgress | None = None,
        asked: Parameters | None = None,
    ) -> Prediction:
        """Predicts one uploaded input.

        Args:
            media: the content type of the answer. A clip is annotated only for `video/webm`.
            on_progress: called with the progress through a clip: see `registry.core.media.OnProgress`.
            asked: a caller's parameters, as `InferencePart.answer` takes them. They change the result; the prediction
                statistics stay those of the version's own thresholds, so that callers cause no drift.

        Raises:
            BadInput, UnsupportedMedia, TooLarge: the input is at fault.
            BadInput: parameters for a video.
        """
        manifest, part = self.bundle.manifest, self._inference
        marks = [time.perf_counter()]
        sample = part.decode(body, self._limit)
        marks.append(time.perf_counter())
        if isinstance(sample, Clip):
            _check_clip(asked)
            found = part.follow(sample, self.run, self._constants, manifest.thresholds, media, on_progress)
            return replace(found, seconds={"open": marks[1] - marks[0], **found.seconds})
        prepared = self.prepare(sample)
        marks.append(time.perf_counter())
        outputs = self.run(prepared.batch)
        marks.append(time.perf_counter())
        result = part.postprocess(outputs, prepared, manifest.thresholds)
        statistics = result.statistics()
        if asked:
            result = part.answer(outputs, prepared, manifest.thresholds, asked)
        marks.append(time.perf_counter())
        names = ("decode", "preprocess", "network", "postprocess")
        return Prediction(
            sample=sample,
            result=result,
            image_statistics=part.image_statistics(sample),
            prediction_statistics=statistics,
            embedding=pool(outputs),
            seconds={name: b - a for name, a, b in zip(names, marks[:-1], marks[1:], strict=True)},
            prepared=prepared,
        )

    def prepare(self, sample: Any) -> Prepared:
        """A decoded sample -> the network's input."""
        return self._inference.preprocess(sample, self._constants)

    def run(self, batch: FloatArray) -> dict[str, FloatArray]:
        """Runs the network on any number of slices or frames, `CHUNK` at a time, so that memory stays bounded."""
        if not len(batch):  # e.g. no face in a picture: outputs without rows, in their shapes
            empty = self._network(np.zeros((1, *batch.shape[1:]), dtype=np.float32))
            return {name: value[:0] for name, value in empty.items()}
        if len(batch) <= CHUNK:
            return self._network(batch)
        parts = [self._network(np.ascontiguousarray(batch[at : at + CHUNK])) for at in range(0, len(batch), CHUNK)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def warm_up(self) -> None:
        """Runs the network once on zeros, so that the first caller does not wait for lazy allocation."""
        self._network(np.zeros((1, *self.bundle.manifest.input_shape), dtype=np.float32))

    def check_golden(self) -> int:
        """Predicts the golden samples, compares the answers, and returns how many there are.

        Raises:
            BundleError: there are none, or an answer differs from the recorded one.
        """
        folders = self.bundle.samples
        if not folders:
            raise BundleError(f"{self.bundle.path} has no golden samples", fix="export the bundle anew")
        for folder in folders:
            expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
            _compare(folder, expected, golden_answer(self((folder / "input").read_bytes())))
        return len(folders)


def _check_clip(asked: Parameters | None) -> None:
    if asked:
        raise BadInput(
            f"{', '.join(asked)}: the input is a video",
            expected="a picture",
            fix="leave the parameters out: a video's tracks need the version's own",
        )


def golden_answer(prediction: Prediction) -> dict[str, float]:
    """The numbers of a prediction that a golden sample records."""
    return {**prediction.prediction_statistics, **prediction.image_statistics}


def pool(outputs: dict[str, FloatArray]) -> FloatArray:
    """The embedding of one input: the mean over its slices, frames or faces, float32 [D]; zeros without any."""
    rows = np.asarray(outputs[EMBEDDING], dtype=np.float32)
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    return rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1], np.float32)


def _compare(folder: Path, expected: dict[str, Any], found: dict[str, float]) -> None:
    for name, value in expected.items():
        got = found.get(name, math.nan)
        if not math.isclose(got, value, rel_tol=GOLDEN_RELATIVE, abs_tol=GOLDEN_ABSOLUTE):
            raise BundleError(
                f"golden sample {folder.name}: {name} is {got:.5g}",
                expected=f"{value:.5g} (within {GOLDEN_RELATIVE:.0%} or {GOLDEN_ABSOLUTE})",
                fix="this version does not compute here what it computed when it was exported: do not serve it; "
                "fetch it again, or export it on this machine",
            )
