"""`/files/<run>/<name>`: the files of a run, decrypted while they are sent, to those who may see it."""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from django.core import signing
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from registry.core.errors import NotFound
from serving.accounts.zip_stream import Entry, zipped
from serving.runs import files, sessions, store
from serving.runs.models import Run, State, now
from serving.wire.database_threads import DatabaseThreads
from serving.wire.encrypted_files import file_response
from serving.wire.responses import error_response

ALL = "all.zip"
_SALT = "shared run"
_threads = DatabaseThreads(4, "downloads")


def share_token(run: Run) -> str:
    """The secret part of a link for others. It holds nothing without this server's own secret."""
    return signing.dumps([run.id, run.shared], salt=_SALT)


def shared_run(token: str) -> Run:
    """The run that a link shows. Raises NotFound for one that has ended, or never was."""
    try:
        run_id, shared = signing.loads(token, salt=_SALT)
    except (signing.BadSignature, ValueError):
        run_id = shared = ""
    run = Run.objects.filter(id=run_id, shared=shared, shared_until__gt=now(), state=State.DONE).first()
    if run is None or not shared:
        raise NotFound("this link has ended", expected="a link that is still valid", fix="ask for a new one")
    return run


def routes() -> list[Route]:
    return [
        Route("/files/{run}/{name}", _own, methods=["GET"]),
        Route("/shared/{token}/files/{name}", _shared, methods=["GET"]),
    ]


async def _own(request: Request) -> Response:
    def find() -> Run:
        return store.visible(request.path_params["run"], sessions.person(request.scope))

    return await _answered(request, find)


async def _shared(request: Request) -> Response:
    return await _answered(request, partial(shared_run, request.path_params["token"]))


async def _answered(request: Request, find: Callable[[], Run]) -> Response:
    try:
        run = await _threads.run(find)
        name = request.path_params["name"]
        if name == ALL:
            return _zip(run)
        return await asyncio.to_thread(_file, request, run, name)
    except Exception as error:
        return error_response(error, {"Cache-Control": "no-store"}, process="web application")


def _file(request: Request, run: Run, name: str) -> Response:
    path, part = files.path(run.id, name), files.PARTS[name]
    saved = not part.shown or "download" in request.query_params
    headers = {**_headers(run), "Content-Disposition": _disposition(download_name(run, name), saved)}
    try:
        return file_response(request, path, files.sealed_as(run.id, name), headers, part.media or run.media)
    except FileNotFoundError as error:
        raise NotFound("this result has no such file", expected=f"one of {', '.join(files.PARTS)}") from error


def _zip(run: Run) -> Response:
    headers = {**_headers(run), "Content-Disposition": _disposition(download_name(run, ALL), True)}
    return StreamingResponse(zipped(_entries(run), zipfile.ZIP_STORED), headers=headers, media_type="application/zip")


def _entries(run: Run) -> Iterator[Entry]:
    for name in files.present(run.id):
        yield download_name(run, name), files.pieces(run.id, name)
    yield "run.json", [json.dumps(described(run), indent=2).encode()]


def described(run: Run) -> dict[str, Any]:
    """What is known of a run, for people who take their data with them."""
    names = ("id", "model", "version", "role", "prediction_id", "state", "name", "size", "kind", "elapsed_ms", "error")
    times = {name: getattr(run, name).isoformat() if getattr(run, name) else None for name in ("created", "finished")}
    return {**{name: getattr(run, name) for name in names}, **times, "classes": run.classes, "options": run.options}


def download_name(run: Run, name: str) -> str:
    """How a file is called on the person's machine: after the file that they uploaded."""
    if name == files.INPUT:
        return run.name
    stem = run.name.removesuffix(".gz")
    stem = stem.rpartition(".")[0] or stem
    return f"{stem}.zip" if name == ALL else f"{stem}{files.PARTS[name].ending}"


def _headers(run: Run) -> dict[str, str]:
    kept = "no-store" if run.owner_id is not None else "public, max-age=3600"
    return {"Cache-Control": kept, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


def _disposition(name: str, saved: bool) -> str:
    """RFC 6266: a name in ASCII, and the whole one for all browsers of today."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"{'attachment' if saved else 'inline'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
