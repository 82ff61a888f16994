"""Importing a data set: a zip is received by an ASGI route in pieces, and a run of Prefect checks it and takes it in.

Django would write the whole body into a temporary folder before it looked who sends it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from registry.contract import catalog
from registry.core.errors import BadInput, Forbidden
from registry.core.files import require_free_space
from registry.core.settings import settings
from serving.accounts import audit
from serving.accounts.models import Role, User
from serving.office.roles import least
from serving.operations import import_files, prefect_api
from serving.runs import page_errors, sessions
from serving.translation import specs
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import JsonResponse
from serving.wire.uploads import read_chunks

ADDRESS = "/office/runs/import/file"
MOST_BYTES = 64 << 30
PIECE_BYTES = 1 << 20
FREE_MB = 500


@least(Role.OPERATOR)
def page(request: HttpRequest) -> HttpResponseBase:
    """The form. `office/import.js` sends the file and goes on to the run."""
    models = [(spec.name, spec.title, _has_data(spec.name)) for spec in specs.all_specs()]
    context = {"models": models, "chosen": request.GET.get("model", ""), "address": ADDRESS}
    return render(request, "office/import.html", context)


class Imports:
    """The route that receives a zip. Its query says for which model, why, and whether to replace what is there."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads(2, "imports")

    @property
    def routes(self) -> list[Route]:
        return [Route(ADDRESS, self.put, methods=["PUT"])]

    async def put(self, request: Request) -> Response:
        path = import_files.new_path()
        try:
            user = await self._threads.run(partial(_operator, request))
            model, why, replace = _asked(request)
            await asyncio.to_thread(require_free_space, settings().var, FREE_MB)
            await _receive(request, path)
            run = await self._threads.run(partial(_begin, user, model, why, replace, path))
        except ClientDisconnect:
            path.unlink(missing_ok=True)
            return Response(status_code=400)  # nobody reads it
        except Exception as error:
            path.unlink(missing_ok=True)
            return page_errors.response(error, request)
        return JsonResponse({"run": run, "address": f"/office/runs/{run}/"})


def _operator(request: Request) -> User:
    """Raises Unauthorized, Forbidden."""
    user = sessions.required(request.scope, changes=True)
    if not user.has_role(Role.OPERATOR):
        raise Forbidden("your account may not import data", expected="an operator", fix="ask an administrator")
    if settings().office_second_factor and not is_mfa_enabled(user):  # this route is not Django's: no middleware asked
        raise Forbidden("the back office needs a second factor", expected="one", fix="set one up in your account")
    return user


def _asked(request: Request) -> tuple[str, str, bool]:
    """Model, reason, and whether to replace a data set. Raises NotFound, BadInput."""
    asked = request.query_params
    model = catalog.get(asked.get("model", "")).name
    why = asked.get("why", "").strip()[:300]
    if len(why) < 3:
        raise BadInput("there is no reason", expected="a few words", fix="write why the data are imported")
    replace = asked.get("replace") == "yes"
    if _has_data(model) and not replace:
        raise BadInput(
            f"there is a data set of {model} already", expected="an empty place", fix="tick that it is to be replaced"
        )
    return model, why, replace


async def _receive(request: Request, path: Path) -> None:
    """Writes the body to a file, piece by piece. Raises BadInput: it is no zip; and as `read_chunks`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held, written = bytearray(), 0
    with path.open("wb") as file:
        async for chunk in read_chunks(request, MOST_BYTES):
            held += chunk
            if len(held) >= PIECE_BYTES:
                written += await asyncio.to_thread(_write, file, held, written == 0)
                held = bytearray()
        written += await asyncio.to_thread(_write, file, held, written == 0)
    if not written:
        raise BadInput("the file is empty", expected="a zip", fix="choose another file")


def _write(file: object, held: bytearray, first: bool) -> int:
    if first and held and not held.startswith(b"PK"):
        raise BadInput("the file is not a zip", expected="a zip of labelled pictures", fix="docs/data.md names layouts")
    file.write(held)  # type: ignore[attr-defined]
    return len(held)


def _begin(user: User, model: str, why: str, replace: bool, path: Path) -> str:
    asked = {"model": model, "path": str(path), "replace": replace}
    run = prefect_api.start("data-import", f"data-import-{model}", f"import data of {model}: {why}", asked)
    audit.note(user, "data.import", model, why, run=run, replace=replace)
    return run


def _has_data(model: str) -> bool:
    folder = settings().data / model
    return folder.is_dir() and any(folder.iterdir())
