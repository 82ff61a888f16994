"""The API for Python programs: `Client`, and `AsyncClient` with the same methods to await. Needs httpx and
pydantic only.

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
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from registry.core.errors import MissingService
from serving.client import account_calls, calls
from serving.client.calls import Call, connection_error, error_of_response, headers_for
from serving.client.results import TaskResult
from serving.client.schemas import Task

ROUTER = "http://127.0.0.1:3000"
MAX_PAUSE_S = 30.0
FIRST_PAUSE_S, GROWTH = 0.2, 1.5
"""`wait` looks at a task soon at first, then ever less often."""

P = ParamSpec("P")
T = TypeVar("T")
OnProgress = Callable[[Task], object]


class _Method(Generic[P, T]):
    """A function of `calls` as a method: `Client` returns its result, `AsyncClient` returns a coroutine of it."""

    def __init__(self, call: Callable[P, Call[T]]) -> None:
        self._call = call
        self.__doc__ = call.__doc__

    @overload
    def __get__(self, client: Client, owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: object = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: object = None) -> Callable[P, Call[T]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: object = None) -> Any:
        if client is None:
            return self._call

        @wraps(self._call)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client._send(self._call(*args, **kwargs))

        return method


class _Methods:
    """What both clients can ask."""

    models = _Method(calls.models)
    predict = _Method(calls.predict)
    predict_many = _Method(calls.predict_many)
    render = _Method(calls.render)
    explain = _Method(calls.explain)
    embed = _Method(calls.embed)
    submit = _Method(calls.submit)
    task = _Method(calls.task)
    tasks = _Method(calls.tasks)
    result = _Method(calls.result)
    cancel = _Method(calls.cancel)
    remove = _Method(calls.remove)
    prediction = _Method(account_calls.prediction)
    predictions = _Method(account_calls.predictions)
    delete_prediction = _Method(account_calls.delete_prediction)
    feedback = _Method(account_calls.feedback)
    usage = _Method(account_calls.usage)
    whoami = _Method(account_calls.whoami)
    rotate = _Method(account_calls.rotate)
    webhook_secret = _Method(account_calls.webhook_secret)


class Client(_Methods):
    """Blocking calls. Safe to use from several threads; `close` it, or use it in a `with` block.

    Args:
        url: of the router.
        key: `vl_...`; not needed where the router requires none.
        timeout_s: of one try.
        patience_s: how long to go on trying while the API says 429 or 503 and when to come back; 0: not at all.
        trust_env: whether proxies and certificates of the environment are used (HTTPS_PROXY, SSL_CERT_FILE, ...).

    Raises (every method):
        Unauthorized, Forbidden, OverQuota, Overloaded, BadInput, NotFound, ...: what the API refused.
        MissingService: nothing answers at `url`, or not in time.

    An error that the API answered has the HTTP status in `status`, and in `retry_after_s` when to try again, if the
    API says so.
    """

    def __init__(
        self,
        url: str = ROUTER,
        key: str | None = None,
        *,
        timeout_s: float = 65.0,
        patience_s: float = 30.0,
        trust_env: bool = True,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.Client(base_url=url, headers=headers_for(key), timeout=timeout_s, trust_env=trust_env)

    def wait(
        self,
        model: str,
        task_id: str,
        progress: OnProgress | None = None,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
    ) -> TaskResult:
        """Waits until a task is over, then returns its result as `result` does.

        Args:
            progress: called with the Task whenever it has changed.
            timeout_s: how long to wait; then Refused is raised, and the task goes on.
            every_s: the longest pause between two looks; the first come sooner. Each is a request of the key's quota.
        """
        watch = _Watch(progress, self._patience_s, every_s, timeout_s)
        while watch.goes_on:
            try:
                watch.saw(self.task(model, task_id))
            except MissingService as error:
                watch.missed(error)
            time.sleep(watch.pause_s())
        return self.result(model, task_id)

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
                return call.result(answer)
            time.sleep(_retry_pause_s(call, answer, self._patience_s - (time.monotonic() - began)))


class AsyncClient(_Methods):
    """As `Client`, to await; an `async with` block closes it."""

    def __init__(
        self,
        url: str = ROUTER,
        key: str | None = None,
        *,
        timeout_s: float = 65.0,
        patience_s: float = 30.0,
        trust_env: bool = True,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(base_url=url, headers=headers_for(key), timeout=timeout_s, trust_env=trust_env)

    async def wait(
        self,
        model: str,
        task_id: str,
        progress: OnProgress | None = None,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
    ) -> TaskResult:
        """As `Client.wait`."""
        watch = _Watch(progress, self._patience_s, every_s, timeout_s)
        while watch.goes_on:
            try:
                watch.saw(await self.task(model, task_id))
            except MissingService as error:
                watch.missed(error)
            await asyncio.sleep(watch.pause_s())
        return await self.result(model, task_id)

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
                return call.result(answer)
            await asyncio.sleep(_retry_pause_s(call, answer, self._patience_s - (time.monotonic() - began)))


def _retry_pause_s(call: Call[Any], answer: httpx.Response, left_s: float) -> float:
    """Seconds to wait before the next try. Raises the error of the answer where there is no next try."""
    retry_after = answer.headers.get("retry-after", "")
    # After a 503 the task may have been taken all the same.
    again = answer.status_code == 429 or (answer.status_code == 503 and not call.submits)
    pause = max(float(retry_after), 0.1) if retry_after.isdigit() else float("inf")
    if not again or pause > min(left_s, MAX_PAUSE_S):
        raise error_of_response(answer)
    return pause


class _Watch:
    """When `wait` looks again, and when it stops.

    Args:
        progress: called with each new state.
        patience_s: how long the API may be unreachable.
        every_s: the longest pause between two looks.
        timeout_s: how long to look; None: until the task is over.
    """

    def __init__(self, progress: OnProgress | None, patience_s: float, every_s: float, timeout_s: float | None) -> None:
        self._progress, self._patience_s, self._every_s = progress, patience_s, every_s
        self._answered_at = time.monotonic()
        self._end = self._answered_at + timeout_s if timeout_s is not None else float("inf")
        self._next_pause_s = FIRST_PAUSE_S
        self._last: Task | None = None

    @property
    def goes_on(self) -> bool:
        over = self._last is not None and self._last.over
        return not over and time.monotonic() < self._end

    def saw(self, task: Task) -> None:
        self._answered_at = time.monotonic()
        if self._progress is not None and _state(task) != _state(self._last):
            self._progress(task)
        self._last = task

    def missed(self, error: MissingService) -> None:
        """The API was unreachable, as while a router restarts. Raises the error when that lasts too long."""
        if time.monotonic() - self._answered_at > self._patience_s:
            raise error

    def pause_s(self) -> float:
        """Seconds until the next look; 0 after the last."""
        if not self.goes_on:
            return 0.0
        pause = min(self._next_pause_s, self._every_s, self._end - time.monotonic())
        self._next_pause_s *= GROWTH
        return max(pause, 0.0)


def _state(task: Task | None) -> object:
    """What changes of a task; two errors that say the same are not equal."""
    return task and task.model_dump(exclude={"error"})
