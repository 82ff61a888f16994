"""The API for Python programs: `Client`, and `AsyncClient` with the same methods to await. Needs only httpx.

    from serving.client import Client

    with Client("http://127.0.0.1:3000", key="vl_...") as client:
        found = client.predict("fruit_features", Path("apple.jpg"))
        print(found.findings["class"], found.id)
        client.feedback(found.id, "apple")
        task = client.submit("object_detection", Path("walk.mp4"), "video/webm")
        Path("seen.webm").write_bytes(client.wait(task.model, task.id).content)

Files are paths or bytes. What the API refuses is raised as the class of `registry.core.errors` that the answer names,
with `found`, `expected` and `fix`. An answer of 429 or 503 that says when to try again is tried again, for
`patience_s`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import date
from typing import Self, TypeVar

import httpx

from registry.core.errors import MissingService
from serving.client.calls import JSON, Call, Calls, File, connection_error, error_of_response
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
)
from serving.client.waiting import Progress, Watch

ROUTER = "http://127.0.0.1:3000"
T = TypeVar("T")


class Client(Calls):
    """Blocking calls. Safe to use from several threads; `close` it, or use it in a `with` block.

    Args:
        url: of the router.
        key: `vl_...`; not needed where the router asks for none.
        timeout_s: of one try.
        patience_s: how long to go on trying while the API says 429 or 503 and when to come back; 0: not at all.

    Raises (every method):
        Unauthorized, Forbidden, OverQuota, Overloaded, BadInput, NotFound, ...: what the API refused.
        MissingService: nothing answers at `url`, or not in time.

    What the API answered has its HTTP status in `status`, and in `retry_after_s` when to try again, if it says so.
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

    def predict_many(
        self, model: str, files: Sequence[File], *, explain: bool = False, image: bool = False
    ) -> list[Answer]:
        """What it finds in several files, in one request: in their order, a Prediction, or the error of that file.

        At most `max_inputs` files, `max_upload_mb` together; more are refused as a whole.
        """
        return self._send(self._predict_many(model, files, explain, image))

    def render(self, model: str, file: File, media: str = "*/*") -> Rendered:
        """The annotated picture, mask or video; `media` is a content type where there is a choice."""
        return self._send(self._render(model, file, media))

    def explain(self, model: str, file: File) -> Rendered:
        """A heat map over the picture: where the answer comes from. JPEG."""
        return self._send(self._explain(model, file))

    def embed(self, model: str, file: File) -> Embedding:
        """The embedding, of models that have one that means something by itself."""
        return self._send(self._embed(model, file))

    def submit(self, model: str, files: File | Sequence[File], media: str = JSON) -> Task:
        """Leaves a long video, or several files, to be worked on in the background.

        Args:
            media: content type of the result, e.g. `video/webm`; of several files it is JSON.
        """
        return self._send(self._submit(model, files, media))

    def task(self, model: str, task_id: str) -> Task:
        """How far a task is."""
        return self._send(self._task(model, task_id))

    def result(self, model: str, task_id: str) -> TaskResult:
        """What a task made. Raises Refused when it is not done, and why when it failed."""
        return self._send(self._result(model, task_id))

    def cancel(self, model: str, task_id: str) -> Task:
        """Ends a task. Changes nothing about one that is over."""
        return self._send(self._cancel(model, task_id))

    def remove(self, model: str, task_id: str) -> Task:
        """Removes a task that is over, with its files. Raises Refused when it is not, NotFound."""
        return self._send(self._remove(model, task_id))

    def wait(
        self,
        model: str,
        task_id: str,
        progress: Progress | None = None,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
    ) -> TaskResult:
        """The result of a task, once it is over; as `result`.

        Args:
            progress: called with the Task whenever that has changed.
            timeout_s: how long to wait; then Refused is raised, and the task goes on.
            every_s: the longest pause between two looks; the first come sooner.
        """
        watch = Watch(progress, self._patience_s, every_s, timeout_s)
        while watch.goes_on:
            try:
                watch.saw(self.task(model, task_id))
            except MissingService as error:
                watch.missed(error)
            time.sleep(watch.pause())
        return self.result(model, task_id)

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

    def _send(self, call: Call[T]) -> T:
        began = time.monotonic()
        while True:
            try:
                answer = self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                raise connection_error(self._http.base_url, error) from error
            if answer.is_success:
                return call.read(answer)
            pause = self._pause(call, answer, time.monotonic() - began)
            if pause is None:
                raise error_of_response(answer)
            time.sleep(pause)


class AsyncClient(Calls):
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

    async def predict_many(
        self, model: str, files: Sequence[File], *, explain: bool = False, image: bool = False
    ) -> list[Answer]:
        return await self._send(self._predict_many(model, files, explain, image))

    async def render(self, model: str, file: File, media: str = "*/*") -> Rendered:
        return await self._send(self._render(model, file, media))

    async def explain(self, model: str, file: File) -> Rendered:
        return await self._send(self._explain(model, file))

    async def embed(self, model: str, file: File) -> Embedding:
        return await self._send(self._embed(model, file))

    async def submit(self, model: str, files: File | Sequence[File], media: str = JSON) -> Task:
        return await self._send(self._submit(model, files, media))

    async def task(self, model: str, task_id: str) -> Task:
        return await self._send(self._task(model, task_id))

    async def result(self, model: str, task_id: str) -> TaskResult:
        return await self._send(self._result(model, task_id))

    async def cancel(self, model: str, task_id: str) -> Task:
        return await self._send(self._cancel(model, task_id))

    async def remove(self, model: str, task_id: str) -> Task:
        """As `Client.remove`."""
        return await self._send(self._remove(model, task_id))

    async def wait(
        self,
        model: str,
        task_id: str,
        progress: Progress | None = None,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
    ) -> TaskResult:
        watch = Watch(progress, self._patience_s, every_s, timeout_s)
        while watch.goes_on:
            try:
                watch.saw(await self.task(model, task_id))
            except MissingService as error:
                watch.missed(error)
            await asyncio.sleep(watch.pause())
        return await self.result(model, task_id)

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

    async def _send(self, call: Call[T]) -> T:
        began = time.monotonic()
        while True:
            try:
                answer = await self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                raise connection_error(self._http.base_url, error) from error
            if answer.is_success:
                return call.read(answer)
            pause = self._pause(call, answer, time.monotonic() - began)
            if pause is None:
                raise error_of_response(answer)
            await asyncio.sleep(pause)
