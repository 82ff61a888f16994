"""One request's way through the router: to the version that the plan chooses, or to the champion when that one dies.

A prediction changes nothing, so one whose body is still at hand may be asked for again. Other bodies are streamed
through, and tasks must not be there twice; their callers get a 503 when the service dies.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from yarl import URL

from registry.errors import MissingService, VisionloopError
from serving.answers import ROLE
from serving.api import CALLER
from serving.callers import BUFFERED, Caller, gone
from serving.plans import Chosen, Plan, Role, choose
from serving.releases import Endpoint, Route
from serving.routing import EVERY_S, RouteTable
from serving.shadow import Copy, Shadow

logger = logging.getLogger("visionloop.router")

# RFC 9110, section 7.6.1: these belong to one connection and are not passed on.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
OURS = frozenset((CALLER.lower(), ROLE.lower(), "host"))
UNABLE = frozenset((429, 503))
"""What a second version answers that the champion is asked instead: too many wait for it, or it cannot work now."""
HOLD_S = 15.0
"""How long a request waits for a champion that is being restarted: as long as a start takes on a busy machine."""
HELD = 256
"""More requests than this do not wait: their bodies take room."""


@dataclass(frozen=True)
class Message:
    """A request as it is sent on. `body`: None, all of it, or a stream that can be read once."""

    method: str
    rest: str
    query: str
    headers: dict[str, str]
    body: bytes | AsyncIterator[bytes] | None

    @property
    def whole(self) -> bool:
        """Whether it can be sent a second time."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def again(self) -> bool:
        """Whether it may be, although a service may have worked on it: a task would be there twice, or be removed."""
        changes = self.rest.partition("/")[0] == "tasks" and self.method not in ("GET", "HEAD")
        return self.whole and not changes

    @property
    def fetches_result(self) -> bool:
        """Whether it asks for what a task has worked out."""
        first, _, rest = self.rest.partition("/")
        return first == "tasks" and rest.partition("/")[2] == "result"

    @property
    def counts(self) -> bool:
        """Whether it asks for work, and not for a page or a state."""
        return self.method == "POST"


class Unreached(Exception):
    """Nothing was sent, so nothing can happen twice."""


class Died(Exception):
    """The service ended under the request, or says that it is ending; `said` is what the caller hears of it."""

    def __init__(self, said: MissingService) -> None:
        self.said = said


class Forwarder:
    """Sends requests on and brings the answers back."""

    def __init__(self, client: aiohttp.ClientSession, table: RouteTable, shadow: Shadow) -> None:
        self._client, self._table, self._shadow = client, table, shadow
        self._holding = 0

    async def __call__(self, request: Request, model: str, rest: str, max_bytes: int) -> Response:
        """The answer. Raises MissingService when there is none to be had, CallerGone, and what `Caller.body` raises."""
        waits, name = Caller(request), _caller(request)
        body = await waits.body(max_bytes)
        message = Message(request.method, rest, request.url.query, _request_headers(request, name), body)
        route = find(self._table, model)
        chosen = choose(route.plan, _key(route.plan, name))
        response = await waits.awaits(self._found(route, chosen, message))
        if chosen.copy_to is not None and rest == "predict" and isinstance(body, bytes):
            other = route.of(chosen.copy_to)
            if other is not None:  # copied once the answer is on its way
                copy = Copy(route, other, message.query, message.headers, body, _whole(response))
                response.background = BackgroundTask(self._shadow.offer, copy)
        return response

    async def _found(self, route: Route, chosen: Chosen, message: Message) -> Response:
        response = await self._answer(route, chosen, message)
        if response.status_code == 404 and not message.counts and message.whole:
            return await self._elsewhere(route, chosen, message, response)
        return response

    async def _answer(self, route: Route, chosen: Chosen, message: Message) -> Response:
        end = time.monotonic() + HOLD_S
        died: Died | None = None
        refused: Response | None = None
        while True:
            for endpoint, role in _candidates(route, chosen):
                if self._table.down(endpoint):
                    continue
                try:
                    response = await self._counted(route.plan, endpoint, role, message)
                except Unreached:
                    self._table.lost(endpoint)
                    self._retried(route.plan, endpoint, role, message)
                    continue
                except Died as error:
                    self._table.lost(endpoint)
                    if died or refused is not None or not message.again:
                        raise error.said from error
                    died = error
                    self._retried(route.plan, endpoint, role, message)
                    continue
                once = died is None and refused is None and message.again
                if response.status_code in UNABLE and role in ("canary", "b") and once:
                    refused = response
                    self._retried(route.plan, endpoint, role, message)
                    continue
                return response
            if died:
                raise died.said
            if refused is not None:
                return refused
            route = await self._held(route, end)

    async def _held(self, route: Route, end: float) -> Route:
        """Waits until a champion can be asked again. Raises MissingService: not in time, or too many wait."""
        if self._holding >= HELD:
            raise died_at(route.champion, "does not answer")
        self._holding += 1
        try:
            await self._table.refresh(EVERY_S)  # perhaps the service has moved since the table was read
            moved = find(self._table, route.plan.model)
            there = moved.champion != route.champion or await self._table.back(moved.plan.model, end - time.monotonic())
        finally:
            self._holding -= 1
        if not there or time.monotonic() > end:
            raise died_at(route.champion, "does not answer")
        return find(self._table, route.plan.model)

    async def _elsewhere(self, route: Route, chosen: Chosen, message: Message, found: Response) -> Response:
        """What one version does not know, another may: a task that was given to it before its share changed."""
        for endpoint in (route.champion, route.challenger, route.standby):
            if endpoint is None or endpoint.version == chosen.version or self._table.down(endpoint):
                continue
            try:
                other = await self._send(endpoint, "champion", message)
            except (Unreached, Died, MissingService):
                continue
            if other.status_code != 404:
                return other
        return found

    async def _counted(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> Response:
        """As `_send`, with a line in the traffic. A caller that leaves has waited at least so long, and no error."""
        if not message.counts:
            return await self._send(endpoint, role, message)
        began, status = time.perf_counter(), 500
        try:
            response = await self._send(endpoint, role, message)
            status = response.status_code
            return response
        except VisionloopError as error:
            status = error.http_status  # what is the caller's own fault is none of the version's
            raise
        except asyncio.CancelledError:
            status = 0
            raise
        finally:
            # Looked up now: what was counted before may have been written down meanwhile.
            counts = self._table.traffic.of(plan, endpoint.version, role)
            counts.calls += 1
            counts.errors += status >= 500
            counts.refused += status == 429
            if status < 400:
                counts.latencies.add(1000 * (time.perf_counter() - began))

    def _retried(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> None:
        if message.counts:
            self._table.traffic.of(plan, endpoint.version, role).retried += 1

    async def _send(self, endpoint: Endpoint, role: Role, message: Message) -> Response:
        """One attempt. Raises Unreached, Died, or MissingService when there was no answer in time."""
        query = f"?{message.query}" if message.query else ""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._table.counted(endpoint))
            try:
                answer = await self._client.request(
                    message.method,
                    URL(f"{endpoint.url}/{message.rest}{query}", encoded=True),
                    headers={**message.headers, ROLE: role},
                    data=message.body,
                    allow_redirects=False,
                )
                stack.push_async_callback(_close, answer)
                headers = _answer_headers(answer, role, message)
                length = answer.content_length
                if length is not None and length <= BUFFERED:
                    return Response(await answer.read(), answer.status, headers)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                raise Unreached from error
            except TimeoutError as error:
                raise died_at(endpoint, "did not answer in time") from error
            except (aiohttp.ClientError, ConnectionError) as error:
                if refused := _refused_upload(error):
                    raise refused from error
                raise Died(died_at(endpoint, "died while it worked on this request")) from error
            # The answer is still to come through: it stays counted as in flight until the last byte.
            return _Passed(answer.content.iter_any(), answer.status, headers, stack.pop_all())


class _Passed(StreamingResponse):
    """An answer that is streamed on; `held` is let go of at its end, also when the caller goes away."""

    def __init__(self, body: AsyncIterator[bytes], status: int, headers: dict[str, str], held: AsyncExitStack) -> None:
        super().__init__(body, status, headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def find(table: RouteTable, model: str) -> Route:
    """The route of a model. Raises MissingService when no version of it is served."""
    route = table.find(model)
    if route is None:
        raise MissingService(
            f"no version of {model} is being served",
            expected="a released version",
            mend="train and release one (`visionloop demo` does both), or try again when it is up",
        )
    return route


def died_at(endpoint: Endpoint, what: str) -> MissingService:
    """The error of a request whose service failed it; also noted in the log."""
    logger.warning("the service of %s version %d at %s %s", endpoint.model, endpoint.version, endpoint.url, what)
    return MissingService(
        f"the service of {endpoint.model} version {endpoint.version} {what}",
        expected="an answer",
        mend="send the request again: the supervisor restarts a service that died",
    )


def _candidates(route: Route, chosen: Chosen) -> Iterator[tuple[Endpoint, Role]]:
    """Who may answer, in this order: the chosen version, the champion, the version that is kept warm.

    Who stands in for another one does so as champion: it is no part of a comparison then.
    """
    first = route.of(chosen.version)
    if first is not None:
        yield first, chosen.role
    if first is not route.champion:
        yield route.champion, "champion"
    if route.standby is not None:
        yield route.standby, "champion"


def _key(plan: Plan, caller: str) -> str:
    return caller if plan.sticky == "caller" else f"{random.getrandbits(64):x}"


def _caller(request: Request) -> str:
    """The key's id, where something before us has asked for one; else the client's address."""
    known = request.scope.get("state", {}).get("caller")
    return str(known) if known else request.client.host if request.client else ""


async def _close(answer: aiohttp.ClientResponse) -> None:
    answer.release()


def _refused_upload(error: BaseException) -> VisionloopError | None:
    """What our own body stream raised, if that is why the request could not be sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, VisionloopError):
            return seen
        if isinstance(seen, ClientDisconnect):
            return gone()
        seen = seen.__cause__ or seen.__context__
    return None


def _request_headers(request: Request, caller: str) -> dict[str, str]:
    return {n: v for n, v in request.headers.items() if n not in HOP_BY_HOP and n not in OURS} | {CALLER: caller}


def _answer_headers(answer: aiohttp.ClientResponse, role: Role, message: Message) -> dict[str, str]:
    """The router knows better than a service of an older build which role a request had; but the result of a task has
    the role, as the version, that it was worked out in."""
    headers = {n: v for n, v in answer.headers.items() if n.lower() not in HOP_BY_HOP and n.lower() != ROLE.lower()}
    worked = answer.headers.get(ROLE) if message.fetches_result and answer.status == 200 else None
    return {**headers, ROLE: worked or role}


def _whole(response: Response) -> tuple[int, str, bytes] | None:
    """Status, content type and body of an answer that was not streamed."""
    if isinstance(response, StreamingResponse):
        return None
    return response.status_code, response.headers.get("content-type", ""), bytes(response.body)
