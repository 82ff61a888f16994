"""The calls of the API, each written once as a function that builds the request and reads the answer. `Client` and
`AsyncClient` send them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel

from registry.core.errors import BadInput, MissingService, VisionloopError, error_from_json
from serving.client.results import Rendered, TaskResult, read_rendered, read_result
from serving.client.schemas import (
    Answer,
    Embedding,
    Model,
    ModelList,
    Prediction,
    Task,
    TaskPage,
    read_answers,
)

JSON, BYTES = "application/json", "application/octet-stream"
File = bytes | PathLike[str]
T = TypeVar("T")


class Asked(TypedDict, total=False):
    """What changes an answer.

    Attributes:
        score: of detectors: the least score of a box.
        iou: of detectors: the overlap above which the better of two boxes stays.
        classes: of detectors: only these.
        max_detections: of detectors: the most boxes.
        version: the version that is to answer; it must be served.
        idempotency_key: a text of your own, e.g. a UUID: the same call with the same key gets the first answer again.
    """

    score: float
    iou: float
    classes: Sequence[str]
    max_detections: int
    version: int
    idempotency_key: str


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and the function that reads its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def submits(self) -> bool:
        """Whether it makes something new: sent twice, it makes two."""
        if "Idempotency-Key" in self.options.get("headers", {}):
            return False
        return self.method == "POST" and self.path.endswith(("/tasks", "/rotate"))

    def result(self, answer: httpx.Response) -> T:
        """What the answer holds. Raises VisionloopError where it is not an answer of this API."""
        try:
            return self.read(answer)
        except (ValueError, KeyError, TypeError) as error:
            raise VisionloopError(
                f"{answer.url} answered {answer.status_code}, but not as {self.method} {self.path} does",
                expected="a router of visionloop",
                fix="check the address",
            ) from error


def models() -> Call[list[Model]]:
    """The models, and which version of each is live."""
    return Call("GET", "/v1/models", lambda answer: list(ModelList.model_validate_json(answer.content).models))


def predict(
    model: str, file: File, *, explain: bool = False, image: bool = False, **asked: Unpack[Asked]
) -> Call[Prediction]:
    """The model's findings in a file; on demand with a heat map that explains them, and with the annotated picture."""
    return _post(model, "predict", _one(file), JSON, read_as(Prediction), {"explain": explain, "image": image, **asked})


def predict_many(
    model: str, files: Sequence[File], *, explain: bool = False, image: bool = False, **asked: Unpack[Asked]
) -> Call[list[Answer]]:
    """The findings in several files, in one request: for each file, in order, a Prediction or the error of that file.

    At most `max_inputs` files, `max_upload_mb` together; more are refused as a whole.
    """
    query = {"explain": explain, "image": image, **asked}
    return _post(model, "predict", _several(files), JSON, lambda answer: list(read_answers(answer.json())), query)


def render(model: str, file: File, media: str = "*/*", **asked: Unpack[Asked]) -> Call[Rendered]:
    """The annotated picture, mask or video; `media` is a content type where there is a choice."""
    return _post(model, "render", _one(file), media, read_rendered, asked)


def explain(model: str, file: File, **asked: Unpack[Asked]) -> Call[Rendered]:
    """A heat map over the picture that shows where the answer comes from. JPEG."""
    return _post(model, "explain", _one(file), "image/jpeg", read_rendered, asked)


def embed(model: str, file: File) -> Call[Embedding]:
    """The embedding of a file. Only some models offer it."""
    return _post(model, "embed", _one(file), JSON, read_as(Embedding))


def submit(
    model: str, files: File | Sequence[File], media: str = JSON, *, webhook: str = "", **asked: Unpack[Asked]
) -> Call[Task]:
    """Submits a long video, or several files, as a task that runs in the background.

    Args:
        media: content type of the result, e.g. `video/webm`. The result of several files is JSON.
        webhook: an https address to call when the task is over.
    """
    # A path may come as a str: it is a sequence, too, but not of files.
    sent = _one(files) if isinstance(files, bytes | str | PathLike) else _several(files)
    return _post(model, "tasks", sent, media, read_as(Task), {"webhook": webhook or None, **asked})


def task(model: str, task_id: str, *, wait_s: int = 0) -> Call[Task]:
    """How far a task is. `wait_s`: wait so long for its end; the API answers sooner when it is over."""
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    return Call("GET", _task_path(model, task_id), read_as(Task), {"headers": headers})


def tasks(*, model: str = "", state: str = "", limit: int = 50, cursor: str | None = None) -> Call[TaskPage]:
    """The tasks that this key submitted, the newest first; `limit` at most 100."""
    given = {"model": model, "state": state, "limit": limit, "cursor": cursor}
    return Call("GET", "/v1/tasks", read_as(TaskPage), {"params": {k: str(v) for k, v in given.items() if v}})


def result(model: str, task_id: str) -> Call[TaskResult]:
    """The result of a task. Raises Refused when it is not done; of a task that failed, the error."""
    return Call("GET", f"{_task_path(model, task_id)}/result", read_result)


def cancel(model: str, task_id: str) -> Call[Task]:
    """Cancels a task. Changes nothing about one that is over."""
    return Call("DELETE", _task_path(model, task_id), read_as(Task))


def remove(model: str, task_id: str) -> Call[Task]:
    """Removes a task that is over, with its files. Raises Refused when it is not over, NotFound."""
    return Call("DELETE", _task_path(model, task_id), read_as(Task), {"params": {"purge": "true"}})


def error_of_response(answer: httpx.Response) -> VisionloopError:
    """The error that an answer describes."""
    try:
        content = dict(answer.json())
    except ValueError:
        content = {}
    pause = answer.headers.get("retry-after", "")
    error = error_from_json(content, answer.status_code, int(pause) if pause.isdigit() else None)
    error.request_id = answer.headers.get("x-request-id", "")
    return error


def connection_error(url: httpx.URL, error: httpx.TransportError) -> MissingService:
    return MissingService(
        f"{url} does not answer: {str(error) or type(error).__name__}",
        expected="the router",
        fix="check the address",
    )


def headers_for(key: str | None) -> dict[str, str]:
    """The header that carries a key, without the line end of the file that the key was read from.

    Raises:
        BadInput: characters that no key has. The message does not repeat the key.
    """
    key = (key or "").strip()
    if not key:
        return {}
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(
            "the key holds characters that no key has",
            expected="vl_, 12 hex digits, _, 64 hex digits",
            fix="pass it as you were given it",
        )
    return {"Authorization": f"Bearer {key}"}


def _post(
    model: str,
    operation: str,
    sent: dict[str, Any],
    media: str,
    read: Callable[[httpx.Response], T],
    query: Mapping[str, Any] | None = None,
) -> Call[T]:
    query = dict(query or {})
    key = query.pop("idempotency_key", None)
    options = {
        **sent,
        "headers": {**sent.get("headers", {}), "Accept": media, **({"Idempotency-Key": key} if key else {})},
        "params": {name: _text(value) for name, value in query.items() if value is not False and value is not None},
    }
    return Call("POST", _model_path(model, operation), read, options)


def _text(value: Any) -> str:
    if value is True:
        return "true"
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def _one(file: File) -> dict[str, Any]:
    """A file as the body: the service finds out what it is."""
    return {"content": content_of(file), "headers": {"Content-Type": BYTES}}


def _several(files: Sequence[File]) -> dict[str, Any]:
    """Files as a form. A form with one file gets a single answer; a JSON list always gets a list."""
    if len(files) < 2:
        return {"json": {"inputs": [base64.b64encode(content_of(one)).decode("ascii") for one in files]}}
    names = (str(n) if isinstance(one, bytes) else Path(one).name for n, one in enumerate(files))
    return {"files": [("file", (name, content_of(one), BYTES)) for name, one in zip(names, files, strict=True)]}


def content_of(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _model_path(model: str, operation: str) -> str:
    return f"/v1/models/{path_part(model, 'model', 'a name that `models()` lists')}/{operation}"


def _task_path(model: str, task_id: str) -> str:
    return _model_path(model, f"tasks/{path_part(task_id, 'task id', 'the `id` of a task')}")


def path_part(text: str, what: str, expected: str) -> str:
    """One part of a path. Refuses what would lead to another path."""
    if not text or not text.isascii() or not text.replace("_", "").replace("-", "").isalnum():
        raise BadInput(f"the {what} is {text!r}", expected=expected, fix="correct it")
    return text


Schema = TypeVar("Schema", bound=BaseModel)


def read_as(schema: type[Schema]) -> Callable[[httpx.Response], Schema]:
    return lambda answer: schema.model_validate_json(answer.content)
