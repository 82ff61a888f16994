"""Results that are files, which the API sends without a JSON schema."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx

from registry.core.errors import BadInput, VisionloopError
from serving.client.schemas import Answer, Prediction, read_answers


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
class TaskResult:
    """The result of a task.

    Attributes:
        content: a file; `media` is its content type.
        predictions: of a JSON result, the answer to each file of the task, in their order; else empty.
    """

    content: bytes
    media: str
    predictions: tuple[Answer, ...]

    @property
    def prediction(self) -> Prediction:
        """The answer to the one file of a task.

        Raises:
            VisionloopError: the error of that file.
            BadInput: there is not exactly one prediction.
        """
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


def read_result(answer: httpx.Response) -> TaskResult:
    media = answer.headers.get("content-type", "")
    if not media.startswith("application/json"):
        return TaskResult(answer.content, media, ())
    content = json.loads(answer.content)
    several = "results" in content
    return TaskResult(
        answer.content, media, read_answers(content) if several else (Prediction.model_validate(content),)
    )


def read_rendered(answer: httpx.Response) -> Rendered:
    headers = answer.headers
    return Rendered(
        content=answer.content,
        media=headers.get("content-type", ""),
        id=headers.get("x-prediction-id", ""),
        model=headers.get("x-model", ""),
        version=int(headers.get("x-model-version", 0)),
        role=headers.get("x-release-role", ""),
    )
