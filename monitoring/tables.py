"""The two tables a verdict compares: the bundle's reference and a window of logged predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from monitoring import embedding
from monitoring.drift import IMAGE, PREDICTION, Table
from registry.bundle import REFERENCE, Bundle
from registry.errors import BundleError

if TYPE_CHECKING:
    from monitoring.models import Prediction

DEFAULT_LAST = 200
MOST = 100_000


@dataclass(frozen=True, eq=False)
class Window:
    """Predictions of one version, the newest last.

    Attributes:
        rows: the answered ones as stored, in the order of `table`.
        table: their statistics; `score` holds what is known from feedback.
        errors: how many requests of the window failed, by class of error.
    """

    rows: list[Prediction]
    table: Table
    errors: dict[str, int]

    @property
    def total(self) -> int:
        return len(self.rows) + sum(self.errors.values())

    @property
    def labelled(self) -> int:
        return int(np.isfinite(self.table.score).sum())


def read_reference(bundle: Bundle) -> Table:
    """`reference.parquet` of a bundle.

    Raises:
        BundleError: it is missing or lacks a column.
    """
    import pyarrow.parquet as pq

    path = bundle.path / REFERENCE
    mend = "train and register the version anew"
    try:
        content = pq.read_table(path).to_pydict()
        names = [name for name in content if name.startswith((IMAGE, PREDICTION))]
        return Table(
            ids=tuple(content["case"]),
            columns={name: np.asarray(content[name], dtype=np.float64) for name in names},
            # as coarse as the log stores them, so that rounding is no difference
            embedding=_stack(content["embedding"]).astype(np.float16).astype(np.float32),
            origin=tuple(content["origin"]),
            score=np.asarray(content["score"], dtype=np.float64),
        )
    except OSError as error:
        raise BundleError(f"{path} cannot be read", expected="the drift reference", mend=mend) from error
    except KeyError as error:
        raise BundleError(f"{path} has no column {error}", expected="the drift reference", mend=mend) from error


def read_window(model: str, version: int, *, last: int | None = None, since: float | None = None) -> Window:
    """The predictions of a version as champion (or canary): the `last` ones, those `since` a unix time, or both.

    Without either, the last 200.
    """
    from monitoring.models import Feedback, Prediction

    query = Prediction.objects.filter(model=model, version=version).exclude(role="shadow").order_by("-time")
    if since is not None:
        query = query.filter(time__gte=datetime.fromtimestamp(since, UTC))
    elif last is None:
        last = DEFAULT_LAST
    found = list(query[: last or MOST])[::-1]
    rows = [row for row in found if row.outcome == "ok"]
    errors: dict[str, int] = {}
    for row in found:
        if row.outcome != "ok":
            errors[row.outcome] = errors.get(row.outcome, 0) + 1
    scores = dict(_in_parts(Feedback, [row.id for row in rows]))
    return Window(rows, _table(rows, scores), errors)


def _in_parts(feedback: type, ids: Sequence[str]) -> list[tuple[str, float]]:
    known = feedback.objects.filter(score__isnull=False)  # type: ignore[attr-defined]
    found: list[tuple[str, float]] = []
    for start in range(0, len(ids), 500):  # SQLite limits the values of one query
        part = ids[start : start + 500]
        found += known.filter(prediction_id__in=part).values_list("prediction_id", "score")
    return found


def _table(rows: list[Prediction], scores: dict[str, float]) -> Table:
    columns: dict[str, np.ndarray] = {}
    for prefix, field in ((IMAGE, "image_statistics"), (PREDICTION, "prediction_statistics")):
        names = {name for row in rows for name in getattr(row, field)}
        for name in sorted(names):
            values = [getattr(row, field).get(name, np.nan) for row in rows]
            columns[prefix + name] = np.asarray(values, dtype=np.float64)
    return Table(
        ids=tuple(row.id for row in rows),
        columns=columns,
        embedding=_stack([embedding.unpack(bytes(row.embedding)) for row in rows]),
        score=np.asarray([scores.get(row.id, np.nan) for row in rows], dtype=np.float64),
    )


def _stack(vectors: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Vectors of one length -> float32 [n, D]; D is 0 where they are not."""
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        return np.zeros((len(vectors), 0), dtype=np.float32)
    return np.asarray(vectors, dtype=np.float32).reshape(len(vectors), lengths.pop())
