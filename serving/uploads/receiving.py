"""`PUT /uploads/<id>`: the bytes of a file, encrypted while they come in, in constant memory whatever their number.

An interrupted upload goes on at the offset that `GET /uploads/<id>` tells, also after a restart of this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from registry.contract import catalog
from registry.core.errors import BadInput, EncryptionError, NotFound, Refused, TooLarge, VisionloopError
from registry.encryption.files import Writer
from serving.runs import files, kinds, sessions, store
from serving.runs.models import Run, State
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import JsonResponse, error_response
from serving.wire.uploads import read_chunks

logger = logging.getLogger("visionloop.web")

OFFSET = "upload-offset"
PIECE_BYTES = 1 << 20
MOST_AT_ONCE = 64
NOTE_EVERY = 8
"""Pieces after which the database learns how far an upload is; the file itself knows better."""


def digest(start: bytes) -> str:
    """What the beginning of a file is known by."""
    return hashlib.sha256(start[: kinds.START_BYTES]).hexdigest()


def state_of(run: Run) -> dict[str, object]:
    """What a browser is told of an upload."""
    return {
        "id": run.id,
        "state": run.state,
        "percent": run.percent if run.state == State.RUNNING else None,
        "offset": durable(run),
        "size": run.size,
        "address": f"/uploads/{run.id}",
        "result": f"/runs/{run.id}/",
        "error": run.error,
    }


def durable(run: Run) -> int:
    """The byte at which an upload goes on."""
    if run.state != State.UPLOADING:
        return int(run.received)
    try:
        with files.reopen(run.id, files.INPUT) as file:
            return file.stored
    except FileNotFoundError:
        return 0
    except Refused:  # it is being written, or it is finished, and its process died before it said so
        with suppress(EncryptionError), files.reader(run.id, files.INPUT) as whole:
            if whole.size == run.size:
                store.uploaded(run.id)
                run.refresh_from_db()
        return int(run.received)


class Uploads:
    """The route. At most `MOST_AT_ONCE` uploads at once; a new one of the same file ends the one before it."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads(4, "uploads")
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._active: dict[str, asyncio.Future[None]] = {}
        self.received_bytes = 0
        """Since the start."""

    @property
    def active(self) -> int:
        """How many come in now."""
        return len(self._active)

    @property
    def routes(self) -> list[Route]:
        return [Route("/uploads/{id}", self.put, methods=["PUT"])]

    async def put(self, request: Request) -> Response:
        try:
            user = await self._threads.run(partial(sessions.required, request.scope, changes=True))
            run = await self._threads.run(partial(store.own, request.path_params["id"], user))
            if run.state != State.UPLOADING:
                return JsonResponse(state_of(run), 200 if run.state != State.FAILED else 409)
            await self._end_other(run.id)
            await self._alone(request, run)
            run = await self._threads.run(partial(Run.objects.get, id=run.id))
            return JsonResponse(state_of(run))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Run.DoesNotExist:
            return error_response(store.unknown())
        except Exception as error:
            return error_response(error, process="web application")

    async def _end_other(self, run_id: str) -> None:
        """Ends an upload of the same file whose connection has died without a word."""
        other = self._active.get(run_id)
        if other is not None:
            other.cancel()
            await asyncio.wait((other,), timeout=5)

    async def _alone(self, request: Request, run: Run) -> None:
        """Receives, until another upload of the same file ends it. Raises Refused."""
        mine = self._active[run.id] = asyncio.ensure_future(self._receive(request, run))
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # this request itself is ended
                mine.cancel()
                raise
            raise Refused("the upload goes on elsewhere", expected="one upload", fix="close the other page") from None
        finally:
            if self._active.get(run.id) is mine:
                del self._active[run.id]

    async def _receive(self, request: Request, run: Run) -> None:
        offset = _offset(request)
        try:
            writer = await asyncio.to_thread(_open, run, offset)
            try:
                async with self._places:
                    await self._fill(request, run, writer)
                if writer.written < run.size:
                    raise BadInput(
                        f"{writer.written:,} of {run.size:,} bytes came in",
                        expected="all of them",
                        fix="go on from there",
                    )
                await asyncio.to_thread(writer.finish)
            finally:
                await asyncio.to_thread(writer.close)
                if writer.written < run.size:
                    await self._threads.run(partial(store.received, run.id, writer.stored))
        except (Unusable, TooLarge) as error:
            known = error.cause if isinstance(error, Unusable) else error
            await self._threads.run(partial(store.refuse, run.id, known))
            raise known from error
        await self._threads.run(partial(store.uploaded, run.id))
        _on_uploaded()

    async def _fill(self, request: Request, run: Run, writer: Writer) -> None:
        held, checked, count = bytearray(), writer.written > 0, 0
        async for chunk in read_chunks(request, run.size - writer.written):
            held += chunk
            self.received_bytes += len(chunk)
            if not checked and len(held) >= min(kinds.START_BYTES, run.size):
                _check_start(run, bytes(held[: kinds.START_BYTES]))
                checked = True
            if len(held) >= PIECE_BYTES and checked:
                await asyncio.to_thread(writer.write, held)
                held, count = bytearray(), count + 1
                if count % NOTE_EVERY == 0:
                    await self._threads.run(partial(store.received, run.id, writer.stored))
        await asyncio.to_thread(writer.write, held)


class Unusable(Exception):
    """The file is not what the model takes. Another try with the same file would end alike."""

    def __init__(self, cause: VisionloopError) -> None:
        super().__init__(str(cause))
        self.cause = cause


_listeners: list[Callable[[], None]] = []


def on_uploaded(listener: Callable[[], None]) -> None:
    """Calls `listener` when an upload is complete."""
    _listeners[:] = [listener]


def _on_uploaded() -> None:
    for listener in _listeners:
        listener()


def _check_start(run: Run, start: bytes) -> None:
    try:
        found = kinds.check(catalog.get(run.model), start, run.size)
    except (BadInput, NotFound) as error:
        raise Unusable(error) from error
    if found.media != run.media:
        raise Unusable(
            BadInput("the file is another one than was announced", expected="the same file", fix="choose it again")
        )


def _offset(request: Request) -> int:
    text = request.headers.get(OFFSET, "0")
    if not text.isdigit():
        raise BadInput(f"{OFFSET} is {text[:20]!r}", expected="a number of bytes", fix="ask GET for the offset")
    return int(text)


def _open(run: Run, offset: int) -> Writer:
    """Raises Refused where the offset is another one than the file's."""
    if offset == 0:
        return files.create(run.id, files.INPUT)
    try:
        writer = files.reopen(run.id, files.INPUT)
    except FileNotFoundError:
        writer = files.create(run.id, files.INPUT)
    if writer.written != offset:
        at = writer.written
        writer.close()
        raise Refused(f"the upload is at byte {at}, not {offset}", expected=f"{OFFSET}: {at}", fix="ask GET for it")
    return writer
