"""The two tables a verdict compares: the bundle's reference and a window of logged predictions."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from monitoring.drift.findings import IMAGE, PREDICTION, Table
from monitoring.drift.permutation import Array
from monitoring.log import embedding
from registry.core import database
from registry.core.errors import BundleError
from registry.versions.bundle import REFERENCE, Bundle

DEFAULT_LAST = 200
MAX_WINDOW = 100_000
BATCH = 500


class Row(NamedTuple):
    """What a verdict needs to know of an answered prediction, beside its statistics."""

    id: str
    time: datetime
    model: str
    input_suffix: str


class Label(NamedTuple):
    """A label of a prediction.

    Attributes:
        score: of the version that predicted; None while it is not scored.
        suggested: a drift report had named the prediction before the label came: it is no random sample.
        origin: of the case that it became in the data set; "" until it becomes one.
        learned_by: the first version that was trained with it.
        problem: why it cannot be scored or learnt from; "" where it can.
    """

    score: float | None
    suggested: bool
    origin: str
    learned_by: int | None
    problem: str


@dataclass(frozen=True, eq=False)
class Window:
    """Predictions of one version, the newest last.

    Attributes:
        rows: the answered ones, in the order of `table`.
        table: their statistics; `score` holds what is known from labels.
        errors: how many requests of the window failed, by class of error.
        labels: prediction id -> its label.
    """

    rows: list[Row]
    table: Table
    errors: dict[str, int]
    labels: dict[str, Label] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return len(self.rows) + sum(self.errors.values())

    @property
    def labelled(self) -> int:
        return int(np.isfinite(self.table.score).sum())

    @property
    def sampled_scores(self) -> Array:
        """Scores of labels that no drift report asked for, float64 [k]."""
        scores = [one.score for one in self.labels.values() if one.score is not None and not one.suggested]
        return np.asarray(scores, dtype=np.float64)


def read_reference(bundle: Bundle) -> Table:
    """`reference.parquet` of a bundle.

    Raises:
        BundleError: it is missing or lacks a column.
    """
    import pyarrow.parquet as pq

    path, model = bundle.path / REFERENCE, bundle.manifest.model
    expected, fix = "the drift reference", f"`visionloop run {model}` makes a version with one"
    unwatched = f"this version of {model} is not watched: {path}"
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
        raise BundleError(f"{unwatched} cannot be read", expected=expected, fix=fix) from error
    except KeyError as error:
        raise BundleError(f"{unwatched} has no column {error}", expected=expected, fix=fix) from error


def read_window(model: str, version: int, *, last: int | None = None, since: float | None = None) -> Window:
    """The predictions of a version, without shadow copies: the `last` ones, those `since` a unix time, or both.

    Without either, the last 200.
    """
    from monitoring.log.models import Feedback, Prediction

    query = Prediction.objects.filter(model=model, version=version).exclude(role="shadow").order_by("-time")
    if since is not None:
        query = query.filter(time__gte=datetime.fromtimestamp(since, UTC))
    elif last is None:
        last = DEFAULT_LAST
    rows: list[Row] = []
    errors: dict[str, int] = {}
    filling = _Filling()
    # Values and not objects, a batch at a time: a window may hold many thousands.
    fields = (
        "id",
        "time",
        "model",
        "input_suffix",
        "outcome",
        "image_statistics",
        "prediction_statistics",
        "embedding",
    )
    chosen = query.values_list(*fields)[: last or MAX_WINDOW]
    for *row, outcome, image, prediction, vector in database.stream(chosen, BATCH):
        if outcome != "ok":
            errors[outcome] = errors.get(outcome, 0) + 1
            continue
        rows.append(Row(*row))
        filling.add(image, prediction, embedding.unpack(bytes(vector)))
    rows.reverse()
    labels = dict(_labels(Feedback, [row.id for row in rows]))
    scores = [label.score if label and label.score is not None else np.nan for label in map(labels.get, _ids(rows))]
    return Window(rows, filling.table(_ids(rows), np.asarray(scores, dtype=np.float64)), errors, labels)


class _Filling:
    """Statistics of predictions, the newest first, as they become columns."""

    def __init__(self) -> None:
        self._count = 0
        self._columns: dict[str, array[float]] = {}
        self._vectors: list[np.ndarray] = []

    def add(self, image: Mapping[str, float], prediction: Mapping[str, float], vector: np.ndarray) -> None:
        for prefix, statistics in ((IMAGE, image), (PREDICTION, prediction)):
            for name, value in statistics.items():
                column = self._columns.setdefault(prefix + name, array("d"))
                column.extend([np.nan] * (self._count - len(column)))
                column.append(value)
        self._count += 1
        self._vectors.append(vector)

    def table(self, ids: tuple[str, ...], scores: Array) -> Table:
        """The oldest first. A statistic that a row lacks is NaN in it."""
        for column in self._columns.values():
            column.extend([np.nan] * (self._count - len(column)))
        columns = {name: np.array(self._columns[name])[::-1] for name in sorted(self._columns)}
        return Table(ids=ids, columns=columns, embedding=_stack(self._vectors[::-1]), score=scores)


def _ids(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row.id for row in rows)


def _labels(feedback: type, ids: Sequence[str]) -> Iterator[tuple[str, Label]]:
    for start in range(0, len(ids), 500):  # SQLite limits the values of one query
        found = feedback.objects.filter(prediction_id__in=ids[start : start + 500])  # type: ignore[attr-defined]
        for number, *fields in found.values_list("prediction_id", *Label._fields):
            yield number, Label(*fields)


def _stack(vectors: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Vectors of one length -> float32 [n, D]; D is 0 where they are not."""
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        return np.zeros((len(vectors), 0), dtype=np.float32)
    return np.asarray(vectors, dtype=np.float32).reshape(len(vectors), lengths.pop())
