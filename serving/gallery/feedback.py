"""`POST /feedback/<run>`: "was this right?", sent on as the label of the run's prediction, with the account's own key.

An ASGI route: a mask may be large, and Django would write it to the disk in the clear. It is sent on while it comes in,
so that it takes no memory here.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from functools import partial

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.log.models import Feedback
from registry.contract import catalog
from registry.core.errors import BadInput, MissingService, Refused
from registry.core.settings import settings
from serving.client.calls import error_of_response
from serving.gallery.viewer import label_kind
from serving.runs import files, page_errors, sessions, store, tokens
from serving.runs.models import Run
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import JsonResponse
from serving.wire.uploads import check_declared_length, read_chunks

MOST_BYTES = 64 << 20
"""Of a label, as at the router."""
MOST_TEXT_BYTES = 1024
_threads = DatabaseThreads(2, "feedback")


def routes() -> list[Route]:
    return [Route("/feedback/{run}", _give, methods=["POST"])]


def given(run: Run) -> Feedback | None:
    """The label that the run's prediction has."""
    return Feedback.objects.filter(prediction_id=run.prediction_id).first() if run.prediction_id else None


async def _give(request: Request) -> Response:
    try:
        user = await _threads.run(partial(sessions.required, request.scope, changes=True))
        run = await _threads.run(partial(store.own, request.path_params["run"], user))
        if not run.prediction_id:
            raise Refused("this run has no prediction", expected="a result", fix="wait until it is done")
        token = await _threads.run(partial(tokens.token_of, run))
        check_declared_length(request.headers.get("content-length"), MOST_BYTES)
        if "right" in request.query_params:
            label = await _threads.run(partial(_answered, run))
        else:
            label = await _sent(request)
        return JsonResponse(await _forwarded(run, token, label))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    except Exception as error:
        return page_errors.response(error, request)


async def _sent(request: Request) -> str | AsyncIterator[bytes]:
    if not request.headers.get("content-type", "").startswith("text/plain"):
        return read_chunks(request, MOST_BYTES)
    body = b"".join([chunk async for chunk in read_chunks(request, MOST_TEXT_BYTES)])
    return body.decode("utf-8", "replace").strip()


def _answered(run: Run) -> str | AsyncIterator[bytes]:
    """The answer itself as a label: it was right."""
    answer = json.loads(files.read(run.id, files.ANSWER))
    kind = label_kind(catalog.get(run.model), answer)
    if kind == "class":
        return str(answer["class"])
    if kind == "mask":
        name = files.PICTURE_MASK if files.PICTURE_MASK in files.present(run.id) else files.MASK
        return _pieces(files.pieces(run.id, name))
    raise BadInput("the boxes are missing", expected="the boxes that are right", fix="send them as a label file")


async def _pieces(of: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, of, None)) is not None:
        yield piece


async def _form(label: AsyncIterator[bytes], boundary: str) -> AsyncIterator[bytes]:
    """A form with a file. httpx would hold the whole file."""
    disposition = 'Content-Disposition: form-data; name="file"; filename="label"'
    yield f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
    async for piece in label:
        yield piece
    yield f"\r\n--{boundary}--\r\n".encode()


async def _forwarded(run: Run, token: str, label: str | AsyncIterator[bytes]) -> dict[str, object]:
    headers, address = {"Authorization": f"Bearer {token}"}, f"/v1/predictions/{run.prediction_id}/feedback"
    timeout = httpx.Timeout(settings().request_timeout_s + 10, connect=5.0)
    async with httpx.AsyncClient(base_url=settings().router_address, timeout=timeout, trust_env=False) as router:
        try:
            if isinstance(label, str):
                answer = await router.post(address, headers=headers, json={"label": label})
            else:
                boundary = secrets.token_hex(16)
                headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
                answer = await router.post(address, headers=headers, content=_form(label, boundary))
        except httpx.TransportError as error:
            raise MissingService(
                "the prediction service does not answer", expected="a running one", fix="try again in a moment"
            ) from error
    if not answer.is_success:
        raise error_of_response(answer)
    found: dict[str, object] = answer.json()
    return found
