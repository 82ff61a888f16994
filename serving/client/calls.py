"""What `serving.client` asks: the requests, and what becomes of their answers. No input or output but reading the files
that are named."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from registry.core.errors import BadInput, MissingService, VisionloopError
from serving.client.types import (
    Answer,
    Embedding,
    FeedbackGiven,
    LoggedPrediction,
    ModelEntry,
    Prediction,
    Rendered,
    Task,
    TaskResult,
    UsageReport,
    read_answers,
    read_error,
)

JSON, BYTES = "application/json", "application/octet-stream"
LONGEST_PAUSE_S = 30.0
File = bytes | PathLike[str]
T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what becomes of its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def submits(self) -> bool:
        """Whether it makes a task: asked twice, there are two."""
        return self.method == "POST" and self.path.endswith("/tasks")


class Calls:
    """What both clients can ask."""

    def __init__(self, key: str | None, patience_s: float) -> None:
        self._headers = {"Authorization": f"Bearer {_key(key)}"} if key else {}
        self._patience_s = patience_s

    def _models(self) -> Call[list[ModelEntry]]:
        return Call("GET", "/v1/models", lambda a: [ModelEntry.of(one) for one in a.json()["models"]])

    def _predict(self, model: str, file: File, explain: bool, image: bool) -> Call[Prediction]:
        extras = _extras(explain, image)
        return _ask(model, "predict", _one(file), JSON, lambda a: Prediction.of(a.json()), extras)

    def _predict_many(self, model: str, files: Sequence[File], explain: bool, image: bool) -> Call[list[Answer]]:
        extras = _extras(explain, image)
        return _ask(model, "predict", _several(files), JSON, lambda a: list(read_answers(a.json())), extras)

    def _render(self, model: str, file: File, media: str) -> Call[Rendered]:
        return _ask(model, "render", _one(file), media, _rendered)

    def _explain(self, model: str, file: File) -> Call[Rendered]:
        return _ask(model, "explain", _one(file), "image/jpeg", _rendered)

    def _embed(self, model: str, file: File) -> Call[Embedding]:
        return _ask(model, "embed", _one(file), JSON, lambda a: Embedding.of(a.json()))

    def _submit(self, model: str, files: File | Sequence[File], media: str) -> Call[Task]:
        # A path may come as a str: it is a sequence, too, but not of files.
        sent = _one(files) if isinstance(files, bytes | str | PathLike) else _several(files)
        return _ask(model, "tasks", sent, media, _task_of)

    def _task(self, model: str, task_id: str) -> Call[Task]:
        return Call("GET", _task_path(model, task_id), _task_of)

    def _result(self, model: str, task_id: str) -> Call[TaskResult]:
        def read(answer: httpx.Response) -> TaskResult:
            return TaskResult.of(answer.content, answer.headers.get("content-type", ""))

        return Call("GET", f"{_task_path(model, task_id)}/result", read)

    def _cancel(self, model: str, task_id: str) -> Call[Task]:
        return Call("DELETE", _task_path(model, task_id), _task_of)

    def _remove(self, model: str, task_id: str) -> Call[Task]:
        return Call("DELETE", _task_path(model, task_id), _task_of, {"params": {"purge": "true"}})

    def _prediction(self, prediction_id: str) -> Call[LoggedPrediction]:
        return Call("GET", f"/v1/predictions/{_id(prediction_id)}", lambda a: LoggedPrediction.of(a.json()))

    def _feedback(self, prediction_id: str, label: str | File) -> Call[FeedbackGiven]:
        sent = {"json": {"label": label}} if isinstance(label, str) else {"files": {"file": _bytes(label)}}
        path = f"/v1/predictions/{_id(prediction_id)}/feedback"
        return Call("POST", path, lambda a: FeedbackGiven(**a.json()), sent)

    def _usage(self, since: date | None, until: date | None) -> Call[UsageReport]:
        days = {name: day.isoformat() for name, day in (("since", since), ("until", until)) if day}
        return Call("GET", "/v1/usage", lambda a: UsageReport.of(a.json()), {"params": days})

    def _pause(self, call: Call[Any], answer: httpx.Response, spent_s: float) -> float | None:
        """Seconds to wait before the next try; None: no more of them."""
        said = answer.headers.get("retry-after", "")
        if answer.status_code not in (429, 503) or not said.isdigit():
            return None
        if answer.status_code == 503 and call.submits:  # the task may have been taken all the same
            return None
        pause = max(float(said), 0.1)
        return pause if spent_s + pause <= self._patience_s and pause <= LONGEST_PAUSE_S else None


def error_of_response(answer: httpx.Response) -> VisionloopError:
    """The error that an answer describes."""
    try:
        said = dict(answer.json())
    except ValueError:
        said = {}
    pause = answer.headers.get("retry-after", "")
    return read_error(said, answer.status_code, int(pause) if pause.isdigit() else None)


def connection_error(url: httpx.URL, error: httpx.TransportError) -> MissingService:
    return MissingService(
        f"{url} does not answer: {str(error) or type(error).__name__}",
        expected="the router",
        fix="check the address; `visionloop up` starts one",
    )


def _ask(
    model: str,
    operation: str,
    sent: dict[str, Any],
    media: str,
    read: Callable[[httpx.Response], T],
    params: dict[str, str] | None = None,
) -> Call[T]:
    headers = {**sent.get("headers", {}), "Accept": media}
    options = {**sent, "headers": headers, "params": params or {}}
    return Call("POST", f"/v1/models/{_name(model)}/{operation}", read, options)


def _one(file: File) -> dict[str, Any]:
    """A file as the body: the service finds out what it is."""
    return {"content": _bytes(file), "headers": {"Content-Type": BYTES}}


def _several(files: Sequence[File]) -> dict[str, Any]:
    """Files as a form. One in a form would get an answer of its own; a JSON list gets a list also then."""
    if len(files) < 2:
        return {"json": {"inputs": [base64.b64encode(_bytes(one)).decode("ascii") for one in files]}}
    names = (str(n) if isinstance(one, bytes) else Path(one).name for n, one in enumerate(files))
    return {"files": [("file", (name, _bytes(one), BYTES)) for name, one in zip(names, files, strict=True)]}


def _bytes(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _extras(explain: bool, image: bool) -> dict[str, str]:
    return {name: "true" for name, on in (("explain", explain), ("image", image)) if on}


def _key(key: str) -> str:
    """A key as a header can carry it, without the line end of the file that it was read from. It is not repeated."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(
            "the key holds characters that no key has",
            expected="vl_, 12 hex digits, _, 64 hex digits",
            fix="pass it as `visionloop keys create` printed it",
        )
    return key


def _id(prediction_id: str) -> str:
    return _part(prediction_id, "prediction id", "the `id` of a prediction")


def _name(model: str) -> str:
    return _part(model, "model", "a name that `models()` lists")


def _task_path(model: str, task_id: str) -> str:
    return f"/v1/models/{_name(model)}/tasks/{_part(task_id, 'task id', 'the `id` of a task')}"


def _part(text: str, what: str, expected: str) -> str:
    """One part of a path: what would be another path is refused here."""
    if not text or not text.isascii() or not text.replace("_", "").replace("-", "").isalnum():
        raise BadInput(f"the {what} is {text!r}", expected=expected, fix="correct it")
    return text


def _task_of(answer: httpx.Response) -> Task:
    return Task.of(answer.json())


def _rendered(answer: httpx.Response) -> Rendered:
    headers = answer.headers
    return Rendered(
        content=answer.content,
        media=headers.get("content-type", ""),
        id=headers.get("x-prediction-id", ""),
        model=headers.get("x-model", ""),
        version=int(headers.get("x-model-version", 0)),
        role=headers.get("x-release-role", ""),
    )
