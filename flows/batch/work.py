"""What is asked of each file, and the columns that its answer fills: features, or predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.batch.listing import Item
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput
from registry.core.media import FloatArray
from registry.versions.predictor import EMBEDDING, Predictor, pool

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES, PREDICTIONS = "features", "predictions"
JSON = "application/json"


@dataclass(frozen=True)
class Work:
    """What a run does with every file.

    Attributes:
        kind: FEATURES or PREDICTIONS.
        version: written into each row, e.g. `fruit_features@3`.
        media: a file of this type is made for every prediction; "" for none.
        limit: most pixels or voxels of a file.
    """

    kind: str
    version: str
    media: str = ""
    limit: int = 64_000_000

    def check(self, spec: ModelSpec) -> None:
        """Raises BadInput if the model cannot do it."""
        if self.kind == FEATURES and spec.task != FEATURES:
            raise BadInput(f"{spec.name} makes no features", expected="a model that does", fix="name it with --model")
        if self.media and self.media not in {*spec.media_out} - {JSON}:
            raise BadInput(
                f"{spec.name} makes no {self.media}",
                expected=f"one of {', '.join(one for one in spec.media_out if one != JSON)}",
                fix="choose one of these",
            )

    @property
    def keeps_samples(self) -> bool:
        """Whether answers need the decoded picture again."""
        return bool(self.media)

    def columns(self) -> Columns:
        return FeatureColumns(self.version) if self.kind == FEATURES else PredictionColumns(self.version, self.media)

    def schema(self) -> pa.Schema:
        return self.columns().schema()


class Columns:
    """Collects the rows of one part."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.items: list[Item] = []

    def schema(self) -> pa.Schema:
        """All columns. `path` and `version` are never null."""
        import pyarrow as pa

        fixed = [pa.field("path", pa.string(), nullable=False), pa.field("label", pa.string())]
        return pa.schema([*fixed, *self.fields(), pa.field("version", pa.string(), nullable=False)])

    def table(self) -> pa.Table:
        import pyarrow as pa

        fixed = [
            pa.array([text(item.path) for item in self.items], pa.string()),
            pa.array([text(item.label) if item.label else None for item in self.items], pa.string()),
        ]
        version = pa.array([self.version] * len(self.items), pa.string())
        return pa.Table.from_arrays([*fixed, *self.arrays(), version], schema=self.schema())

    def add(
        self, item: Item, outputs: Mapping[str, FloatArray], result: Any, sample: Any, predictor: Predictor
    ) -> None:
        """One answer. `outputs`: the network's, of this file's rows only; of a video the embedding only."""
        self.take(outputs, result, sample, predictor)
        self.items.append(item)  # at the end: what raises leaves no half row

    def fields(self) -> list[pa.Field]:
        raise NotImplementedError

    def arrays(self) -> list[pa.Array]:
        raise NotImplementedError

    def take(self, outputs: Mapping[str, FloatArray], result: Any, sample: Any, predictor: Predictor) -> None:
        raise NotImplementedError


class FeatureColumns(Columns):
    """`features` and `pca` as the network gives them, and the class that it names."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.rows: list[tuple[FloatArray, FloatArray, str, float]] = []

    def fields(self) -> list[pa.Field]:
        import pyarrow as pa

        floats = pa.list_(pa.float32())
        return [
            pa.field("features", floats), pa.field("pca", floats),
            pa.field("class", pa.string()), pa.field("probability", pa.float32()),
        ]  # fmt: skip

    def take(self, outputs: Mapping[str, FloatArray], result: Any, sample: Any, predictor: Predictor) -> None:
        self.rows.append((outputs[EMBEDDING][0], outputs["pca"][0], result.name, result.probability))

    def arrays(self) -> list[pa.Array]:
        import pyarrow as pa

        features, pca, names, shares = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        return [vectors(features), vectors(pca), pa.array(names, pa.string()), pa.array(shares, pa.float32())]


class PredictionColumns(Columns):
    """The answer as the service gives it, its statistics, and the embedding."""

    def __init__(self, version: str, media: str) -> None:
        super().__init__(version)
        self._media = media
        self.rows: list[tuple[str, dict[str, float], FloatArray, bytes | None]] = []

    def fields(self) -> list[pa.Field]:
        import pyarrow as pa

        found = [
            pa.field("prediction", pa.string(), nullable=False),
            pa.field("statistics", pa.map_(pa.string(), pa.float64())),
            pa.field("embedding", pa.list_(pa.float32())),
        ]
        return [*found, pa.field("file", pa.binary())] if self._media else found

    def take(self, outputs: Mapping[str, FloatArray], result: Any, sample: Any, predictor: Predictor) -> None:
        render = predictor.spec.render.FORMATS[self._media](sample, result) if self._media else None
        statistics = {name: float(value) for name, value in result.statistics().items()}
        self.rows.append((json.dumps(result.to_json()), statistics, pool(dict(outputs)), render))

    def arrays(self) -> list[pa.Array]:
        import pyarrow as pa

        answers, statistics, embeddings, files = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        found = [
            pa.array(answers, pa.string()),
            pa.array([list(one.items()) for one in statistics], pa.map_(pa.string(), pa.float64())),
            vectors(embeddings),
        ]
        return [*found, pa.array(files, pa.binary())] if self._media else found


class Rejects:
    """Collects the files of one part that have no answer."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.rows: list[tuple[Item, str, str]] = []

    def add(self, item: Item, reason: str, kind: str) -> None:
        """`kind`: the class of the error, e.g. TooLarge."""
        self.rows.append((item, reason, kind))

    @staticmethod
    def schema() -> pa.Schema:
        import pyarrow as pa

        names = ("path", "label", "reason", "kind", "version")
        return pa.schema([pa.field(name, pa.string(), nullable=name == "label") for name in names])

    def table(self) -> pa.Table:
        import pyarrow as pa

        rows = [
            {
                "path": text(item.path), "label": text(item.label) if item.label else None,
                "reason": text(reason), "kind": kind, "version": self.version,
            }
            for item, reason, kind in self.rows
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=self.schema())


def vectors(values: Sequence[FloatArray]) -> pa.Array:
    """Vectors, of any lengths -> list<float32>."""
    import pyarrow as pa

    flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    ends = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat.astype(np.float32, copy=False)))


def text(name: str) -> str:
    """Writes bytes that are not UTF-8, which file names may have, as \\xNN: Arrow's strings must be UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
