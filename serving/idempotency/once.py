"""Answers a request with a key once, and repeats that answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from registry.core.errors import BadInput, Refused
from registry.core.settings import settings
from serving.idempotency import store
from serving.idempotency.fingerprint import Fingerprint
from serving.idempotency.store import Claim, Earlier
from serving.wire.database_threads import DatabaseThreads
from serving.wire.headers import PREDICTION_ID_HEADER
from serving.wire.uploads import PACE_S

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
MAX_KEY_LENGTH = 255
THREADS = 4
_PASSING = frozenset((401, 403, 408, 429))
"""Besides 5xx: a repetition may fare better, so these are not kept."""

Body = bytes | AsyncIterator[bytes] | None


def key_of(request: Request) -> str | None:
    """The request's idempotency key. Raises BadInput for one that cannot be kept."""
    given = request.headers.getlist(HEADER)
    if not given or request.method != "POST":
        return None
    key = given[0]
    if len(given) > 1 or not 0 < len(key) <= MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise BadInput(
            f"{HEADER} is {', '.join(given)[:80]!r}",
            expected=f"one text of 1 to {MAX_KEY_LENGTH} printable ASCII characters",
            fix="a UUID is usual",
        )
    return key


class Once:
    """The answers of requests with a key, by caller."""

    def __init__(self) -> None:
        self._database = DatabaseThreads(THREADS, "idempotency")

    async def __call__(
        self, request: Request, caller: str, key: str, body: Body, answer: Callable[[Body], Awaitable[Response]]
    ) -> Response:
        """The answer of the first request with this key, made with `answer` if this is the first.

        Raises:
            BadInput: the key was used for another request.
            Refused: the first request is still being answered, or its answer was too large to be kept.
            MissingService: the database is away.
            Whatever `answer` raises; then nothing is kept.
        """
        accept = request.headers.get("accept", "")
        content_type = request.headers.get("content-type", "")
        asked = Fingerprint(request.method, request.url.path, request.url.query, content_type, accept)
        if body is None or isinstance(body, bytes):
            asked.update(body or b"")
            asked.is_complete = True
        takes = timedelta(seconds=settings().request_timeout_s + PACE_S)
        known = asked.hexdigest() if asked.is_complete else ""
        found = await self._database.run(partial(store.begin, caller, key, known, takes))
        if isinstance(found, Earlier):
            if body is not None and not isinstance(body, bytes):
                async for _ in asked.following(body):
                    pass
            return _repeated(found, asked.hexdigest())
        return await self._first(found, asked, body, answer)

    async def _first(
        self, claim: Claim, asked: Fingerprint, body: Body, answer: Callable[[Body], Awaitable[Response]]
    ) -> Response:
        kept = False
        try:
            response = await answer(body if body is None or isinstance(body, bytes) else asked.following(body))
            passing = response.status_code >= 500 or response.status_code in _PASSING
            if asked.is_complete and not passing:
                await self._database.run(partial(store.finish, claim, asked.hexdigest(), *_content(response)))
                kept = True
            return response
        finally:
            if not kept:
                await self._database.run(partial(store.give_up, claim))


def _repeated(earlier: Earlier, fingerprint: str) -> Response:
    if earlier.fingerprint not in ("", fingerprint):
        raise BadInput(
            f"this {HEADER} was used for another request",
            expected="the same path, query, headers and body as the first time",
            fix="take a new key for a new request",
        )
    if earlier.status is None:
        error = Refused(
            f"the first request with this {HEADER} is still being answered",
            expected="a repetition after its answer",
            fix="try again in a moment",
        )
        error.retry_after_s = 1
        raise error
    if earlier.body is None:
        raise Refused(
            f"the answer to this {HEADER} was larger than {store.MAX_BYTES >> 20} MiB, and is not kept",
            expected="a smaller answer",
            fix="take a new key; GET /v1/predictions lists what was answered",
        )
    response = Response(earlier.body, earlier.status)
    response.raw_headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in (*earlier.headers, (REPLAYED, "true"))
    ]
    return response


def _content(response: Response) -> tuple[int, list[tuple[str, str]], bytes | None, str]:
    """Status, headers, body and ids of predictions; the body is None for an answer that is streamed."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    if isinstance(response, StreamingResponse):
        return response.status_code, headers, None, ""
    body = bytes(response.body)
    ids = response.headers.get(PREDICTION_ID_HEADER, "") or _ids(response, body)
    return response.status_code, headers, body, ids


def _ids(response: Response, body: bytes) -> str:
    """The ids in the answer to several files."""
    if not response.headers.get("content-type", "").startswith("application/json"):
        return ""
    content: Any = json.loads(body)
    results = content.get("results", ()) if isinstance(content, dict) else ()
    return " ".join(str(one.get("id") or one.get("prediction_id") or "") for one in results)
