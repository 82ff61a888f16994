"""What `serving.client` gives back. Times are UTC; milliseconds and bytes are in the names."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

_COMMON = ("id", "model", "version", "role", "elapsed_ms", "timings_ms", "image", "explanation")


@dataclass(frozen=True)
class ModelEntry:
    """A model. `version` is the live one; None: none is served. `media_*` are content types."""

    name: str
    title: str
    task: str
    version: int | None
    media_in: tuple[str, ...]
    media_out: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        plain = {name: said[name] for name in ("name", "title", "task", "version")}
        return cls(**plain, media_in=tuple(said["media_in"]), media_out=tuple(said["media_out"]))


@dataclass(frozen=True)
class Explanation:
    """`image`: a JPEG; None where there was nothing to explain, and `why_not` says why."""

    image: bytes | None
    why_not: str
    evidence_lost: float | None


@dataclass(frozen=True)
class Prediction:
    """An answer of a model.

    Attributes:
        findings: the model's own, as `GET /v1/models/{model}/schema` describes them.
        image: the annotated picture, a JPEG, if it was asked for.
    """

    id: str
    model: str
    version: int
    role: str
    elapsed_ms: float
    timings_ms: dict[str, float]
    findings: dict[str, Any]
    image: bytes | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        why = said.get("explanation")
        return cls(
            **{name: said[name] for name in _COMMON[:6]},
            findings={name: value for name, value in said.items() if name not in _COMMON},
            image=_decoded(said.get("image")),
            explanation=why
            and Explanation(_decoded(why.get("image")), why.get("why_not", ""), why.get("evidence_lost")),
        )


@dataclass(frozen=True)
class Embedding:
    """`vector`: float, of the model's own length."""

    id: str
    model: str
    version: int
    role: str
    vector: tuple[float, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        return cls(**{name: said[name] for name in _COMMON[:4]}, vector=tuple(said["embedding"]))


@dataclass(frozen=True)
class Rendered:
    """A file. `media` is its content type."""

    content: bytes
    media: str
    id: str
    model: str
    version: int
    role: str


@dataclass(frozen=True)
class Label:
    """Feedback as it was given. `score` is in the model's metric; None until it is scored."""

    time: datetime
    source: str
    label: str | None
    score: float | None
    problem: str


@dataclass(frozen=True)
class LoggedPrediction:
    """A prediction as the log has it; see `serving.public.schemas`."""

    id: str
    model: str
    version: int
    role: str
    time: datetime
    caller: str
    latency_ms: float
    outcome: str
    status: int
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    input_kept: bool
    feedback: Label | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        given = said["feedback"]
        changed = {
            "time": datetime.fromisoformat(said["time"]),
            "feedback": Label(**{**given, "time": datetime.fromisoformat(given["time"])}) if given else None,
        }
        return cls(**{**{name: said[name] for name in cls.__dataclass_fields__}, **changed})


@dataclass(frozen=True)
class FeedbackGiven:
    """`replaced`: there was a label before."""

    prediction: str
    model: str
    version: int
    replaced: bool


@dataclass(frozen=True)
class Usage:
    """What one key asked of one model on one day."""

    day: date
    key: str
    model: str
    requests: int
    errors: int
    refused: int
    bytes_in: int
    bytes_out: int
    milliseconds: float


@dataclass(frozen=True)
class UsageReport:
    """Limits are None where there is none; so are all three without a key."""

    since: date
    until: date
    per_minute: int | None
    per_month: int | None
    used_this_month: int | None
    rows: tuple[Usage, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        quota = said["quota"] or {}
        rows = tuple(Usage(**{**row, "day": date.fromisoformat(row["day"])}) for row in said["rows"])
        limits = {name: quota.get(name) for name in ("per_minute", "per_month", "used_this_month")}
        return cls(date.fromisoformat(said["since"]), date.fromisoformat(said["until"]), **limits, rows=rows)


def _decoded(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text else None
