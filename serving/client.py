"""The API for Python programs: `Client`, and `AsyncClient` with the same methods to await. Needs only httpx.

    from serving.client import Client

    with Client("http://127.0.0.1:3000", key="vl_...") as client:
        found = client.predict("fruit_features", Path("apple.jpg"))
        print(found.findings["class"], found.id)
        client.feedback(found.id, "apple")

Files are paths or bytes. What the API refuses is raised as the class of `registry.errors` that the answer names, with
`found`, `expected` and `mend`. An answer of 429 or 503 that says when to try again is tried again, for `patience_s`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import httpx

from registry import errors
from registry.errors import MissingService, VisionloopError
from serving.client_types import (
    Embedding,
    FeedbackGiven,
    LoggedPrediction,
    ModelEntry,
    Prediction,
    Rendered,
    UsageReport,
)

ROUTER = "http://127.0.0.1:3000"
LONGEST_PAUSE_S = 30.0
RAW = {"Content-Type": "application/octet-stream"}  # the service finds out what it is
File = bytes | PathLike[str]
T = TypeVar("T")


@dataclass(frozen=True)
class _Call(Generic[T]):
    """A request, and what becomes of its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: dict[str, Any] = field(default_factory=dict)


class _Calls:
    """What both clients can ask. Nothing here does input or output but reading files that are named."""

    def __init__(self, key: str | None, patience_s: float) -> None:
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._patience_s = patience_s

    def _models(self) -> _Call[list[ModelEntry]]:
        return _Call("GET", "/v1/models", lambda a: [ModelEntry.of(one) for one in a.json()["models"]])

    def _predict(self, model: str, file: File, explain: bool, image: bool) -> _Call[Prediction]:
        extras = {name: "true" for name, on in (("explain", explain), ("image", image)) if on}
        return self._ask(model, "predict", file, "application/json", lambda a: Prediction.of(a.json()), extras)

    def _render(self, model: str, file: File, media: str) -> _Call[Rendered]:
        return self._ask(model, "render", file, media, _rendered)

    def _explain(self, model: str, file: File) -> _Call[Rendered]:
        return self._ask(model, "explain", file, "image/jpeg", _rendered)

    def _embed(self, model: str, file: File) -> _Call[Embedding]:
        return self._ask(model, "embed", file, "application/json", lambda a: Embedding.of(a.json()))

    def _prediction(self, prediction_id: str) -> _Call[LoggedPrediction]:
        return _Call("GET", f"/v1/predictions/{_id(prediction_id)}", lambda a: LoggedPrediction.of(a.json()))

    def _feedback(self, prediction_id: str, label: str | File) -> _Call[FeedbackGiven]:
        sent = {"json": {"label": label}} if isinstance(label, str) else {"files": {"file": _bytes(label)}}
        path = f"/v1/predictions/{_id(prediction_id)}/feedback"
        return _Call("POST", path, lambda a: FeedbackGiven(**a.json()), sent)

    def _usage(self, since: date | None, until: date | None) -> _Call[UsageReport]:
        days = {name: day.isoformat() for name, day in (("since", since), ("until", until)) if day}
        return _Call("GET", "/v1/usage", lambda a: UsageReport.of(a.json()), {"params": days})

    def _ask(
        self,
        model: str,
        operation: str,
        file: File,
        media: str,
        read: Callable[[httpx.Response], T],
        params: dict[str, str] | None = None,
    ) -> _Call[T]:
        options = {"content": _bytes(file), "headers": {**RAW, "Accept": media}, "params": params or {}}
        return _Call("POST", f"/v1/models/{_name(model)}/{operation}", read, options)

    def _pause(self, answer: httpx.Response, spent_s: float) -> float | None:
        """Seconds to wait before the next try; None: no more of them."""
        said = answer.headers.get("retry-after", "")
        if answer.status_code not in (429, 503) or not said.isdigit():
            return None
        pause = max(float(said), 0.1)
        return pause if spent_s + pause <= self._patience_s and pause <= LONGEST_PAUSE_S else None


class Client(_Calls):
    """Blocking calls. Safe to use from several threads; `close` it, or use it in a `with` block.

    Args:
        url: of the router.
        key: `vl_...`; not needed where the router asks for none.
        timeout_s: of one try.
        patience_s: how long to go on trying while the API says 429 or 503 and when to come back; 0: not at all.

    Raises (every method):
        Unauthorized, Forbidden, OverQuota, Overloaded, BadInput, NotFound, ...: what the API refused.
        MissingService: nothing answers at `url`, or not in time.
    """

    def __init__(
        self, url: str = ROUTER, key: str | None = None, *, timeout_s: float = 65.0, patience_s: float = 30.0
    ) -> None:
        super().__init__(key, patience_s)
        self._http = httpx.Client(base_url=url, headers=self._headers, timeout=timeout_s)

    def models(self) -> list[ModelEntry]:
        """The models, and which version of each is live."""
        return self._send(self._models())

    def predict(self, model: str, file: File, *, explain: bool = False, image: bool = False) -> Prediction:
        """What the model finds in a file; on demand with a heat map of why, and with the annotated picture."""
        return self._send(self._predict(model, file, explain, image))

    def render(self, model: str, file: File, media: str = "*/*") -> Rendered:
        """The annotated picture, mask or video; `media` is a content type where there is a choice."""
        return self._send(self._render(model, file, media))

    def explain(self, model: str, file: File) -> Rendered:
        """A heat map over the picture: where the answer comes from. JPEG."""
        return self._send(self._explain(model, file))

    def embed(self, model: str, file: File) -> Embedding:
        """The embedding, of models that have one that means something by itself."""
        return self._send(self._embed(model, file))

    def prediction(self, prediction_id: str) -> LoggedPrediction:
        """What the log has about an earlier prediction of this key."""
        return self._send(self._prediction(prediction_id))

    def feedback(self, prediction_id: str, label: str | File) -> FeedbackGiven:
        """Says what would have been right: a class as text, or a label file. A second label replaces the first."""
        return self._send(self._feedback(prediction_id, label))

    def usage(self, since: date | None = None, until: date | None = None) -> UsageReport:
        """What this key asked, by model and day (UTC); default: this month."""
        return self._send(self._usage(since, until))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: _Call[T]) -> T:
        began = time.monotonic()
        while True:
            try:
                answer = self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                raise _no_answer(self._http.base_url, error) from error
            if answer.is_success:
                return call.read(answer)
            pause = self._pause(answer, time.monotonic() - began)
            if pause is None:
                raise _refused(answer)
            time.sleep(pause)


class AsyncClient(_Calls):
    """As `Client`, to await; an `async with` block closes it."""

    def __init__(
        self, url: str = ROUTER, key: str | None = None, *, timeout_s: float = 65.0, patience_s: float = 30.0
    ) -> None:
        super().__init__(key, patience_s)
        self._http = httpx.AsyncClient(base_url=url, headers=self._headers, timeout=timeout_s)

    async def models(self) -> list[ModelEntry]:
        return await self._send(self._models())

    async def predict(self, model: str, file: File, *, explain: bool = False, image: bool = False) -> Prediction:
        return await self._send(self._predict(model, file, explain, image))

    async def render(self, model: str, file: File, media: str = "*/*") -> Rendered:
        return await self._send(self._render(model, file, media))

    async def explain(self, model: str, file: File) -> Rendered:
        return await self._send(self._explain(model, file))

    async def embed(self, model: str, file: File) -> Embedding:
        return await self._send(self._embed(model, file))

    async def prediction(self, prediction_id: str) -> LoggedPrediction:
        return await self._send(self._prediction(prediction_id))

    async def feedback(self, prediction_id: str, label: str | File) -> FeedbackGiven:
        return await self._send(self._feedback(prediction_id, label))

    async def usage(self, since: date | None = None, until: date | None = None) -> UsageReport:
        return await self._send(self._usage(since, until))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: _Call[T]) -> T:
        began = time.monotonic()
        while True:
            try:
                answer = await self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                raise _no_answer(self._http.base_url, error) from error
            if answer.is_success:
                return call.read(answer)
            pause = self._pause(answer, time.monotonic() - began)
            if pause is None:
                raise _refused(answer)
            await asyncio.sleep(pause)


def _bytes(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _id(prediction_id: str) -> str:
    return _part(prediction_id, "prediction id", "the `id` of a prediction")


def _name(model: str) -> str:
    return _part(model, "model", "a name that `models()` lists")


def _part(text: str, what: str, expected: str) -> str:
    """One part of a path: what would be another path is refused here."""
    if not text or not text.isascii() or not text.replace("_", "").replace("-", "").isalnum():
        raise errors.BadInput(f"the {what} is {text!r}", expected=expected, mend="correct it")
    return text


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


def _refused(answer: httpx.Response) -> VisionloopError:
    """The error that an answer describes."""
    try:
        said = dict(answer.json())
    except ValueError:
        said = {}
    texts = {name: str(said.get(name) or "") for name in ("expected", "mend")}
    found = str(said.get("found") or f"the API answered {answer.status_code}")
    kind = getattr(errors, str(said.get("error")), VisionloopError)
    if kind is errors.Overloaded:
        pause = answer.headers.get("retry-after", "")
        return errors.Overloaded(found, retry_after_s=int(pause) if pause.isdigit() else 1, **texts)
    if not (isinstance(kind, type) and issubclass(kind, VisionloopError)):
        kind = VisionloopError
    return kind(found, **texts)


def _no_answer(url: httpx.URL, error: httpx.TransportError) -> MissingService:
    return MissingService(
        f"{url} does not answer: {str(error) or type(error).__name__}",
        expected="the router",
        mend="check the address; `visionloop up` starts one",
    )
