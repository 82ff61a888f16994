"""What `serving.client` gives back. Times are UTC; milliseconds and bytes are in the names."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from registry.core import errors
from registry.core.errors import BadInput, VisionloopError

_COMMON = ("id", "model", "version", "role", "elapsed_ms", "timings_ms", "image", "explanation", "file")


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


Answer = Prediction | VisionloopError
"""To one of several files: what was found in it, or why it cannot be used."""


def read_answers(said: Mapping[str, Any]) -> tuple[Answer, ...]:
    """The answers to several files, in their order. Only a prediction has an id."""
    return tuple(Prediction.of(one) if "id" in one else read_error(one) for one in said["results"])


@dataclass(frozen=True)
class Task:
    """Work in the background.

    Attributes:
        state: queued, running, done, failed or cancelled.
        done, total: frames of a video, else files.
        attempts: how often a service began it.
        media: content type of the result; None before there is one.
        error: why it failed.
    """

    id: str
    model: str
    state: str
    done: int
    total: int
    attempts: int
    media: str | None
    error: VisionloopError | None
    created: datetime | None
    begun: datetime | None
    finished: datetime | None

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        times = {name: _time(said[name]) for name in ("created", "begun", "finished")}
        error = read_error(said["error"]) if said["error"] else None
        return cls(**{**{name: said[name] for name in cls.__dataclass_fields__}, **times, "error": error})


@dataclass(frozen=True)
class TaskResult:
    """What a task made.

    Attributes:
        content: a file; `media` is its content type.
        predictions: where that is JSON, what it says: one for each file of the task, in their order.
    """

    content: bytes
    media: str
    predictions: tuple[Answer, ...]

    @property
    def prediction(self) -> Prediction:
        """The answer to the one file of a task. Raises what was wrong with the file; BadInput if there is not one."""
        if len(self.predictions) != 1:
            raise BadInput(
                f"the result is {self.media} with {len(self.predictions)} predictions",
                expected="the JSON answer to one file",
                fix="use `content` or `predictions`",
            )
        (one,) = self.predictions
        if isinstance(one, VisionloopError):
            raise one
        return one

    @classmethod
    def of(cls, content: bytes, media: str) -> Self:
        if not media.startswith("application/json"):
            return cls(content, media, ())
        said = json.loads(content)
        return cls(content, media, read_answers(said) if "results" in said else (Prediction.of(said),))


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
    """A prediction as the log has it; see `serving.api.schemas`."""

    id: str
    model: str
    version: int
    role: str
    time: datetime
    caller: str
    elapsed_ms: float
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
    elapsed_ms: float


@dataclass(frozen=True)
class Quota:
    """What a key may ask; None where there is no limit. The month is the calendar's (UTC)."""

    per_minute: int | None
    per_month: int | None
    used_this_month: int


@dataclass(frozen=True)
class UsageReport:
    """`quota`: None without a key."""

    since: date
    until: date
    quota: Quota | None
    rows: tuple[Usage, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        given = said["quota"]
        quota = Quota(**{name: given[name] for name in Quota.__dataclass_fields__}) if given else None
        rows = tuple(Usage(**{**row, "day": date.fromisoformat(row["day"])}) for row in said["rows"])
        return cls(date.fromisoformat(said["since"]), date.fromisoformat(said["until"]), quota, rows)


def read_error(said: Mapping[str, Any], status: int | None = None, retry_after_s: int | None = None) -> VisionloopError:
    """The error that the API describes, as the class of `registry.core.errors` that it names, with the answer's
    `status` (one of several files has its own) and its `Retry-After`."""
    error = _error(said, status, retry_after_s)
    error.status = said.get("status", status)
    error.retry_after_s = retry_after_s
    return error


def _error(said: Mapping[str, Any], status: int | None, retry_after_s: int | None) -> VisionloopError:
    kind = getattr(errors, str(said.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, VisionloopError)):
        kind = VisionloopError
    found = str(said.get("found") or (f"the API answered {status}" if status else "the API does not say what is wrong"))
    texts = {name: str(said.get(name) or "") for name in ("expected", "fix")}
    if issubclass(kind, errors.Overloaded):
        return errors.Overloaded(found, retry_after_s=retry_after_s or 1, **texts)
    return kind(found, **texts)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _decoded(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text else None
