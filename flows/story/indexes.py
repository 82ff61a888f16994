"""Index pages of decisions, drift reports and data checks, and the page for wrong addresses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from flows.story.view import templates
from registry.core.settings import Settings
from serving.operations import documents

GROUPS = (("Decisions", "decisions"), ("Drift reports", "reports"), ("Data checks", "data-docs"))
"""Title, and folder of `var`."""
MOST_PAGES = 500
LATEST_PAGES = 6


def latest(settings: Settings) -> list[dict[str, Any]]:
    """The latest pages of each group, for the home page."""
    found = []
    for title, folder in GROUPS:
        pages = _pages(settings, folder, most=LATEST_PAGES)
        if pages:
            found.append({"title": title, "url": f"/{folder}/", "pages": pages})
    return found


def routes(settings: Settings) -> list[Route]:
    """`/decisions/`, `/decisions/MODEL/` and so on. Add them before the folders themselves."""
    return [
        route
        for title, folder in GROUPS
        for route in (
            Route(f"/{folder}/", _index(settings, title, folder)),
            Route(f"/{folder}/{{model}}/", _index(settings, title, folder)),
        )
    ]


def _index(settings: Settings, title: str, folder: str) -> Any:
    async def index(request: Request) -> Response:
        model = request.path_params.get("model", "")
        pages = await run_in_threadpool(_pages, settings, folder, model)
        if model and not pages:
            raise HTTPException(404)
        heading = f"{title}: {model}" if model else title
        return HTMLResponse(_page(title=heading, pages=pages[:MOST_PAGES], more=max(0, len(pages) - MOST_PAGES)))

    return index


async def not_found(request: Request, _: Exception) -> Response:
    """A page with links for browsers, a line of text for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse("Not Found", status_code=404)
    folders = [{"url": f"/{folder}/", "name": title} for title, folder in GROUPS]
    places = [{"url": "/", "name": "The story"}, *folders]
    return HTMLResponse(_page(title="There is no such page", path=request.url.path, places=places), status_code=404)


def _page(**context: Any) -> str:
    return templates().get_template("index.html").render(**context)


def _pages(settings: Settings, folder: str, model: str = "", most: int = MOST_PAGES + 1) -> list[dict[str, Any]]:
    """The latest pages of a folder, or of one model in it, the latest first."""
    base = settings.var / folder
    return [
        {"url": f"/{folder}/{file.relative_to(base)}", "time": when, **_words(folder, base, file)}
        for when, file in documents.pages(settings.var, folder, model, most)
    ]


def _words(folder: str, base: Path, file: Path) -> dict[str, str]:
    """What a page is about ("name") and its summary ("says"), from the JSON beside it."""
    parts = _identity(file.relative_to(base).parts)
    words = [part.removesuffix(".html") for part in parts if part != "index.html"]
    found = {"name": " · ".join(words) or "index", "says": ""}
    with suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
        content = json.loads(documents.beside(folder, file).read_text(encoding="utf-8"))
        found["says"] = str(content.get("summary") or content.get("why") or "")
        found["name"] = _NAMES[folder](parts[0], content)
    return found


def _decision(model: str, page: Mapping[str, Any]) -> str:
    return f"{model} version {page['challenger']}, {page.get('word') or ('granted' if page['granted'] else 'refused')}"


def _verdict(model: str, page: Mapping[str, Any]) -> str:
    return f"{model} version {page['version']}, {'DRIFT' if page['drifted'] else 'no drift'}"


def _check(model: str, page: Mapping[str, Any]) -> str:
    return f"{model}, {page['summary']}"


_NAMES = {"decisions": _decision, "reports": _verdict, "data-docs": _check}
"""Folder of `var` -> how a page of it is called, after its model and the JSON beside it."""


def _identity(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts of a page's path that identify it. For a data check: model and time."""
    return (parts[1], parts[3]) if parts[0] == "validations" else tuple(parts)
