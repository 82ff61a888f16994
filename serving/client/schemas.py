"""What the API sends, as pydantic models. The OpenAPI documents of services and router are made from them, the typed
routes answer with them, and the client reads with them.

Times are UTC. Units are in the names. Unknown fields are ignored, so that an older client reads a newer API.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from registry.core import errors
from registry.core.errors import VisionloopError, error_from_json


def _decode(value: object) -> object:
    return base64.b64decode(value) if isinstance(value, str) else value


def _error_names(kind: type[VisionloopError]) -> list[str]:
    """The name of an error class and of its subclasses in `registry.core.errors`."""
    kinds = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [kind.__name__, *(name for one in kinds for name in _error_names(one))]


_JPEG_SCHEMA = {"type": ["string", "null"], "contentEncoding": "base64", "contentMediaType": "image/jpeg"}
Jpeg = Annotated[bytes | None, BeforeValidator(_decode), WithJsonSchema(_JPEG_SCHEMA)]
"""The bytes of a JPEG; base64 in JSON."""
TaskError = Annotated[
    VisionloopError | None,
    BeforeValidator(lambda value: error_from_json(value) if isinstance(value, Mapping) else value),
    WithJsonSchema({"type": ["object", "null"]}),
]
FileName = Annotated[str | None, Field(description="in a list of results: the name that the form gave the file")]


class Schema(BaseModel):
    """The base of all. Immutable."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, protected_namespaces=())


class Error(Schema):
    """Every error: what was found, what was expected, and what to do (`fix`)."""

    error: str = Field(json_schema_extra={"enum": [*sorted({"InternalError", *_error_names(VisionloopError)})]})
    found: str
    expected: str = ""
    fix: str = ""
    status: int | None = Field(None, description="in a list of results: the status that the file would get alone")
    file: FileName = None
    prediction_id: str | None = Field(None, description="in a list of results: the id in the log, if work had begun")


class Model(Schema):
    """A model, and which version of it is live."""

    name: str = Field(description="as in its address")
    title: str = Field(description="for people")
    task: str = Field(description="segmentation, detection, classification or features")
    version: int | None = Field(description="the version that gets the traffic; null: none is released")
    media_in: tuple[str, ...] = Field(description="content types of the files that it takes")
    media_out: tuple[str, ...] = Field(description="content types that it can answer with, the default first")
    predict: str = Field("", description="path to send files to")
    docs: str = Field("", description="path of the page that describes its calls")


class ModelList(Schema):
    """All models."""

    models: tuple[Model, ...]


class Health(Schema):
    """The router is alive."""

    status: Literal["ok"]


class Explanation(Schema):
    """Where in the input the answer comes from."""

    image: Jpeg = Field(description="the heat map over the input; null where there is nothing to explain")
    why_not: str = Field("", description="why there is no heat map")
    evidence_lost: float | None = Field(None, description="at the hottest place, as a share of all evidence")
    elapsed_ms: float = Field(description="time that the explanation took")
    network_calls: int = Field(description="inputs that went through the network for it")


class Answered(Schema):
    """What the answers of all models have."""

    id: str = Field(description="id of the prediction, for feedback: 32 hex digits")
    model: str
    version: int = Field(description="the version that answered")
    role: str = Field(description="the part that the version plays in the release")
    elapsed_ms: float = Field(description="from the last byte in to the first byte out")
    timings_ms: dict[str, float] = Field(description="time by step")
    file: FileName = None


class Prediction(Answered):
    """The model's own findings beside these fields. `GET schema` of a model describes them."""

    model_config = ConfigDict(extra="allow")

    image: Jpeg = Field(None, description="the annotated picture, with ?image=true")
    explanation: Explanation | None = Field(None, description="with ?explain=true")

    @property
    def findings(self) -> dict[str, Any]:
        """The model's own fields, by name."""
        return dict(self.model_extra or {})


class Embedding(Answered):
    """The embedding of a file. Inputs that look alike have embeddings that lie near each other."""

    embedding: tuple[float, ...]
    dimensions: int = Field(description="length of `embedding`")

    @property
    def vector(self) -> tuple[float, ...]:
        return self.embedding


class PredictionList(Schema):
    """The answers to several files."""

    results: list[Prediction | Embedding | Error] = Field(description="in the order of the files")
    model: str
    version: int
    role: str
    elapsed_ms: float


Answer = Prediction | VisionloopError
"""The answer to one of several files: the prediction, or why the file cannot be used."""


def read_answers(content: Mapping[str, Any]) -> tuple[Answer, ...]:
    """The answers to several files, in their order. Only a prediction has an id."""
    return tuple(Prediction.model_validate(one) if "id" in one else error_from_json(one) for one in content["results"])


class Task(Schema):
    """Work in the background, and how far it is."""

    id: str
    url: str = Field("", description="path of the task: GET looks at it, DELETE cancels it")
    result_url: str = Field("", description="path of its result, once it is done")
    model: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int = Field(description="frames of a video, else files")
    total: int
    attempts: int = Field(description="how often a service began it")
    media: str | None = Field(description="content type of the result; null before there is one")
    error: TaskError = Field(description="why it failed, as an answer would say it")
    created: datetime | None
    begun: datetime | None
    finished: datetime | None
    removed: bool = Field(False, description="in the answer to DELETE: whether the task was removed")

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class TaskPage(Schema):
    """Some tasks, the newest first."""

    tasks: list[Task]
    next_cursor: str | None = Field(description="for the next page, as `?cursor=`; null: this is the last")


class Limits(Schema):
    """Limits of one request."""

    max_upload_mb: int
    max_inputs: int
    max_voxels_or_pixels: int
    max_video_s: float
    request_timeout_s: float


class ModelDescription(Schema):
    """What one version of a model takes and answers."""

    model: str
    version: int
    title: str
    task: str
    caution: str = Field(description="what it must not be used for; empty: nothing is known")
    classes: list[str] = Field(description="in the order of the network's outputs")
    thresholds: dict[str, Any] = Field(description="above which something counts as found, by name")
    media_in: list[str] = Field(description="content types of the files that it takes")
    media_out: list[str] = Field(description="content types that it can answer with, the default first")
    extensions: list[str] = Field(description="endings of the files that it takes")
    embeds: str | None = Field(description="what its embedding describes; null: it has none")
    limits: Limits
    answer: dict[str, Any] = Field(description="JSON schema of an answer, with the model's own findings")


class Feedback(Schema):
    """The label of a prediction, as somebody gave it."""

    time: datetime
    source: str = Field(description="who gave it: a key's id, an address, or a name")
    label: str | None = Field(description="the class; null where the label is a file")
    score: float | None = Field(description="of the prediction, in the model's own metric; null until it is scored")
    problem: str = Field(description="why it cannot be scored; empty where it can")


class LoggedPrediction(Schema):
    """A prediction as the log has it."""

    id: str
    model: str
    version: int
    role: str = Field(description="part that the version played in the release")
    time: datetime
    caller: str = Field(description="a key's id, or an address")
    elapsed_ms: float = Field(description="bytes in to bytes out in the service, without an explanation")
    outcome: str = Field(description="ok, or the class of the error")
    status: int = Field(description="HTTP status of the answer")
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    answer: dict[str, Any] | None = Field(
        None,
        description="the model's findings, as the JSON answer had them; of a request that failed, its error; null: it "
        "was larger than 64 KiB, or is not kept any more",
    )
    input_kept: bool = Field(description="whether the input is still there, so that it can be run again")
    feedback: Feedback | None


class PredictionPage(Schema):
    """Some predictions of the log, the newest first."""

    predictions: list[LoggedPrediction]
    next_cursor: str | None = Field(description="for the next page, as `?cursor=`; null: this is the last")


class Deletion(Schema):
    """What there was of a prediction that was deleted."""

    id: str
    input: bool = Field(description="whether its input was still kept")
    answer: bool = Field(description="whether its answer was still kept")
    label: bool = Field(description="whether it had a label")
    case: str | None = Field(description="origin of the case that the data set made of it and keeps; null: of none")


class FeedbackReceipt(Schema):
    """Confirms that feedback was stored."""

    prediction: str
    model: str
    version: int
    replaced: bool = Field(description="whether there was a label before; the newest one counts")
