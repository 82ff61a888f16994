"""Finds what made a served result, and computes it again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitoring.feedback import performance
from monitoring.log import embedding as embeddings
from monitoring.log import inputs
from registry.core import database
from registry.core.errors import NotFound
from registry.core.media import FloatArray
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Version, Versions
from registry.versions.predictor import GOLDEN_ABSOLUTE, GOLDEN_RELATIVE, Predictor

if TYPE_CHECKING:
    from monitoring.log.models import Prediction as Row

EMBEDDING_RELATIVE = 0.03
"""Largest |a - b| / |a| of two embeddings of one input. The log keeps float16, which accounts for 0.001 at most."""


@dataclass(frozen=True)
class Difference:
    """A number of the log, and the same number now. `within`: their difference is within the tolerance."""

    name: str
    logged: float
    now: float
    within: bool

    def to_json(self) -> dict[str, Any]:
        """JSON has no NaN and no infinity: both become null."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in self.__dict__.items()}


@dataclass(frozen=True)
class Provenance:
    """What made a prediction."""

    row: Row
    version: Version
    bundle: Bundle
    bento: str

    @property
    def input(self) -> Path | None:
        """The input's file. None once its retention time is over."""
        path = performance.input_file(self.row)
        return path if path.is_file() else None

    def to_json(self) -> dict[str, Any]:
        """Times are ISO 8601; null stands for what is absent."""
        row, manifest = self.row, self.bundle.manifest
        return {
            "prediction": row.id,
            "time": row.time.isoformat(),
            "caller": row.caller,
            "status": row.status,
            "outcome": row.outcome,
            "elapsed_ms": row.latency_ms,
            "model": row.model,
            "version": row.version,
            "role": row.role,
            "bento": self.bento or None,
            "bundle": self.bundle.digest,
            "data": manifest.data_hash,
            "code": manifest.git_commit,
            "trained": manifest.created,
            "started_from": manifest.pretrained,
            "parent": {"version": manifest.parent.version, "digest": manifest.parent.digest}
            if manifest.parent
            else None,
            "engine": manifest.engine,
            "numerics": manifest.numerics,
            "network": manifest.network,
            "preprocessing": dict(manifest.preprocessing),
            "thresholds": dict(manifest.thresholds),
            "mlflow_run": self.version.run_id,
            "input": str(self.input) if self.input else None,
        }


def trace(prediction_id: str, versions: Versions) -> Provenance:
    """Finds the version and the bundle of a prediction.

    Raises:
        NotFound: there is no such prediction, or its version was deleted from the registry.
        BundleError: the registered bundle is damaged.
    """
    database.migrate()
    from monitoring.log.models import Prediction
    from serving.releases.models import Endpoint

    row = Prediction.objects.filter(id=prediction_id).first()
    if row is None:
        raise NotFound(
            f"there is no prediction {prediction_id[:64]!r}",
            expected="the X-Prediction-Id of an answer",
            fix="check the id; a prediction reaches the log about a second after its answer",
        )
    version = versions.find(row.model, row.version)
    if version is None:
        raise NotFound(
            f"version {row.version} of {row.model}, which answered, is no longer in the registry",
            expected="the version that answered",
            fix="restore it in MLflow from a backup; without it the result cannot be reproduced",
        )
    served = Endpoint.objects.filter(model=row.model, version=row.version).first()
    return Provenance(row, version, versions.fetch(version), served.tag if served else "")


def run_again(origin: Provenance) -> list[Difference]:
    """Predicts the kept input with the same bundle, and compares the result with the log.

    Statistics must agree within 3 % or 0.01, as golden samples must: another CPU rounds differently, but another
    network, preprocessing or input is off by far more. Embeddings must agree within `EMBEDDING_RELATIVE`.

    Raises:
        NotFound: the request was refused and has no result, or its input is no longer kept.
    """
    row, path = origin.row, origin.input
    if row.outcome != "ok":
        raise NotFound(
            f"{row.id} has no result: the request was answered with {row.status} ({row.outcome})",
            expected="a prediction whose outcome is ok",
            fix="choose another one",
        )
    if path is None:
        raise NotFound(
            f"the input of {row.id} is no longer kept",
            expected=f"one of the last {settings().retention_days:g} days and {settings().retention_mb} MiB",
            fix="raise retention_days or retention_mb to keep inputs for longer; what made the result is above",
        )
    again = Predictor(origin.bundle, settings().threads, settings().max_voxels)(inputs.read(path))
    now = {
        **{f"image.{name}": value for name, value in again.image_statistics.items()},
        **{f"prediction.{name}": value for name, value in again.prediction_statistics.items()},
    }
    logged = {
        **{f"image.{name}": value for name, value in row.image_statistics.items()},
        **{f"prediction.{name}": value for name, value in row.prediction_statistics.items()},
    }
    found = [_compared(name, value, now.get(name, math.nan)) for name, value in sorted(logged.items())]
    kept = embeddings.unpack(bytes(row.embedding))
    if len(kept):
        distance = _distance(kept, again.embedding)
        found.append(Difference("embedding: relative distance", 0.0, distance, distance <= EMBEDDING_RELATIVE))
    return found


def _compared(name: str, logged: float, now: float) -> Difference:
    near = math.isclose(now, logged, rel_tol=GOLDEN_RELATIVE, abs_tol=GOLDEN_ABSOLUTE)
    return Difference(name, logged, now, near)


def _distance(a: FloatArray, b: FloatArray) -> float:
    """|a - b| / |a|. Infinite if their lengths differ."""
    if a.shape != b.shape:
        return math.inf
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(a)), 1e-9))
