"""One request's way through the router: to the version that the plan chooses, or to the live one when that one dies.

A prediction changes nothing, so it is sent again where its body is still at hand. A streamed body cannot be sent again,
and a task must not be submitted twice: their callers get a 503 when the service dies.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import aiohttp
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from yarl import URL

from registry.core.errors import MissingService, VisionloopError
from serving.idempotency.once import Body, Once, key_of
from serving.query.versions import take, take_version
from serving.releases.endpoints import Endpoint
from serving.releases.plans import Choice, Plan, choose
from serving.releases.store import Route
from serving.router.callers import MAX_BUFFERED_BYTES, Caller, gone, name_of
from serving.router.candidates import candidates, pinned_choice, served
from serving.router.relaying import (
    Message,
    NoFault,
    ServiceDied,
    StreamedAnswer,
    Unreachable,
    WholeAnswer,
    answer_headers,
    is_own_error,
    log_failure,
    no_connection,
    request_headers,
    upload_cut,
)
from serving.router.routing import RouteTable
from serving.router.shadow import Copy, Shadow
from serving.webhooks.asking import WEBHOOK
from serving.wire.admission import MIB, Reservation
from serving.wire.headers import ROLE_HEADER, Role

UNABLE_STATUSES = frozenset((429, 503))
"""Statuses of a second version after which the live one is asked: too many wait for it, or it cannot work now."""
MAX_HOLD_S = 15.0
"""How long a request waits for a live version that is being restarted: as long as a start takes on a busy machine."""
MAX_HELD = 256
"""How many requests may wait so: their bodies take memory."""
MEMORY_BYTES = 256 * MIB
"""Bytes of bodies and answers in memory at once. Beyond it bodies are refused, and answers are streamed."""


class Forwarder:
    """Forwards requests and returns the answers."""

    def __init__(self, client: aiohttp.ClientSession, table: RouteTable, shadow: Shadow) -> None:
        self._client, self._table, self._shadow = client, table, shadow
        self._holding = 0
        self._once = Once()

    @property
    def holding(self) -> int:
        """How many requests wait for a live version that is being restarted."""
        return self._holding

    async def __call__(self, request: Request, model: str, rest: str, max_bytes: int, held: Reservation) -> Response:
        """The answer to a request. `held` must last until the answer is sent.

        Raises:
            MissingService: no version can answer.
            CallerGone: the caller has left.
            BadInput, Refused: the query pins a version that is none, or is not served.
            TooLarge, TooSlow, Overloaded: as `Caller.body`.
        """
        caller, name, key = Caller(request), name_of(request.scope), key_of(request)
        pinned, query = take_version(request.url.query)
        if rest == "tasks":  # a router's own, see `serving.webhooks.asking`
            query = take(query, WEBHOOK)[1]
        pinned_choice(self._table.route(model), pinned)  # before the body is read
        body = await caller.body(max_bytes, held)
        headers = request_headers(request, name, whole=body is None or isinstance(body, bytes))
        message = Message(request.method, rest, query, headers, body, held, pinned)
        if key is not None:  # answered also where the caller leaves: it may ask again
            return await self._once(request, name, key, body, partial(self._answer_first, model, name, message))
        route, chosen = self._choose(model, name, message)
        return self._copied(route, chosen, message, await caller.wait_for(self._respond(route, chosen, message)))

    async def _answer_first(self, model: str, name: str, message: Message, body: Body) -> Response:
        """The answer to the first request with an idempotency key. A repetition gets neither an answer of its own, nor
        a copy."""
        message = replace(message, body=body)
        route, chosen = self._choose(model, name, message)
        return self._copied(route, chosen, message, await self._respond(route, chosen, message))

    def _choose(self, model: str, name: str, message: Message) -> tuple[Route, Choice]:
        route = self._table.route(model)
        return route, pinned_choice(route, message.pinned) or choose(route.plan, _key(route.plan, name))

    def _copied(self, route: Route, chosen: Choice, message: Message, response: Response) -> Response:
        """The answer; once it is on its way, a copy of the request goes to the plan's shadow."""
        other = route.of(chosen.copy_to) if chosen.copy_to is not None and message.rest == "predict" else None
        if other is not None and isinstance(message.body, bytes):
            copy = Copy(route, other, message.query, message.headers, message.body, _whole(response))
            response.background = BackgroundTask(self._shadow.offer, copy)
        return response

    async def _respond(self, route: Route, chosen: Choice, message: Message) -> Response:
        response = await self._ask_in_turn(route, chosen, message)
        if response.status_code == 404 and not message.counts and message.whole and message.pinned is None:
            return await self._ask_others(route, chosen, message, response)
        return response

    async def _ask_in_turn(self, route: Route, chosen: Choice, message: Message) -> Response:
        """The answer of the first version that can give one. One failure is made good by another version; the second
        failure is the caller's answer."""
        end = time.monotonic() + MAX_HOLD_S
        first: ServiceDied | Response | None = None
        while True:
            for endpoint, role in candidates(route, chosen, message.pinned):
                if self._table.down(endpoint):
                    continue
                failure: ServiceDied | Response
                try:
                    failure = await self._send_counted(route.plan, endpoint, role, message)
                    if failure.status_code not in UNABLE_STATUSES or role not in ("canary", "b"):
                        return failure
                except Unreachable:
                    self._retried(route.plan, endpoint, role, message)
                    continue
                except ServiceDied as error:
                    failure = error
                if first is not None or not message.repeatable:
                    return _answer_of(failure)
                first = failure
                self._retried(route.plan, endpoint, role, message)
            if first is not None:
                return _answer_of(first)
            if message.pinned is not None and message.pinned != route.plan.live:
                raise MissingService(
                    f"version {message.pinned} of {route.plan.model} does not answer",
                    expected="a version that runs",
                    fix="leave ?version= out for the live version, or try again",
                )
            route = await self._hold(route, end)

    async def _hold(self, route: Route, end: float) -> Route:
        """Waits until a live version can be asked. Raises MissingService: not in time, or too many requests wait."""
        if self._holding >= MAX_HELD:
            raise log_failure(route.live, "does not answer")
        self._holding += 1
        try:
            there = await self._table.wait_for_live(route.plan.model, end - time.monotonic())
        finally:
            self._holding -= 1
        if not there:
            raise log_failure(route.live, "does not answer")
        return self._table.route(route.plan.model)

    async def _ask_others(self, route: Route, chosen: Choice, message: Message, found: Response) -> Response:
        """Asks the other versions for what this one does not know, such as a task from before a share changed."""
        for endpoint in served(route):
            if endpoint.version == chosen.version or self._table.down(endpoint):
                continue
            try:
                other = await self._send(route.plan, endpoint, "live", message)
            except (Unreachable, ServiceDied, MissingService):
                continue
            if other.status_code != 404:
                return other
        return found

    async def _send_counted(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> Response:
        """As `_send`, counted in the traffic. A caller that leaves counts with its waiting time, and as no error."""
        if not message.counts:
            return await self._send(plan, endpoint, role, message)
        began, status = time.perf_counter(), 500
        try:
            response = await self._send(plan, endpoint, role, message)
            status = response.status_code
            return response
        except NoFault:
            status = 0
            raise
        except VisionloopError as error:
            status = error.http_status  # the caller's own fault is not the version's
            raise
        except asyncio.CancelledError:
            status = 0
            raise
        finally:
            # Looked up now: earlier counts may have been written to the database meanwhile.
            ms = 1000 * (time.perf_counter() - began) if status < 400 else None
            self._table.traffic.of(plan, endpoint.version, role).answered(status, ms)

    def _retried(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> None:
        if message.counts:
            self._table.traffic.of(plan, endpoint.version, role).retried += 1

    async def _send(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> Response:
        """Sends the request once. A service that does not take it is asked whether it is ready.

        Raises:
            Unreachable: the service was not reached.
            ServiceDied: the service ended.
            NoFault: the request could not be sent, and the service is not to blame.
            MissingService: there was no answer in time.
            TooLarge, TooSlow, CallerGone: the body is streamed and failed.
        """
        try:
            return await self._exchange(plan, endpoint, role, message)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if is_own_error(error):
                raise no_connection(error) from error
            await self._table.mark_if_down(endpoint)
            raise Unreachable from error
        except TimeoutError as error:
            raise log_failure(endpoint, "did not answer in time") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            if refused := _refused_upload(error):
                raise refused from error
            if not await self._table.mark_if_down(endpoint) and not message.whole:
                raise upload_cut(endpoint) from error
            raise ServiceDied(log_failure(endpoint, "died while it worked on this request")) from error

    async def _exchange(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> Response:
        """Sends the request and takes the answer. Raises what aiohttp raises."""
        query = f"?{message.query}" if message.query else ""
        headers = message.headers.copy()
        headers[ROLE_HEADER] = role
        async with AsyncExitStack() as stack:
            stack.enter_context(self._table.in_flight_on(endpoint))
            answer = await self._client.request(
                message.method,
                URL(f"{endpoint.url}/{message.rest}{query}", encoded=True),
                headers=headers,
                data=message.body,
                allow_redirects=False,
            )
            stack.push_async_callback(_close, answer)
            found, length = answer_headers(answer, role, message), answer.content_length
            if length is not None and length <= MAX_BUFFERED_BYTES and message.held.fits(length):
                message.held.take(length)
                return WholeAnswer(await answer.read(), answer.status, found)
            cut_off = partial(self._cut_off, plan, endpoint, role, message)
            # It counts as in flight until its last byte.
            return StreamedAnswer(answer, found, stack.pop_all(), cut_off)

    async def _cut_off(self, plan: Plan, endpoint: Endpoint, role: Role, message: Message) -> None:
        """Counts the error of a service that ended in the middle of its answer."""
        if message.counts:
            self._table.traffic.of(plan, endpoint.version, role).errors += 1
        log_failure(endpoint, "died in the middle of its answer")
        await self._table.mark_if_down(endpoint)


def _answer_of(failure: ServiceDied | Response) -> Response:
    if isinstance(failure, ServiceDied):
        raise failure.error from failure
    return failure


def _key(plan: Plan, caller: str) -> str:
    return caller if plan.sticky == "caller" else f"{random.getrandbits(64):x}"


async def _close(answer: aiohttp.ClientResponse) -> None:
    answer.release()


def _refused_upload(error: BaseException) -> VisionloopError | None:
    """The error of our own body stream, if that is why the request could not be sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, VisionloopError):
            return seen
        if isinstance(seen, ClientDisconnect):
            return gone()
        seen = seen.__cause__ or seen.__context__
    return None


def _whole(response: Response) -> tuple[int, str, bytes] | None:
    """Status, content type and body of an answer that was not streamed."""
    if isinstance(response, StreamingResponse):
        return None
    return response.status_code, response.headers.get("content-type", ""), bytes(response.body)
