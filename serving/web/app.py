"""The ASGI app of the web application: pages by Django, files and static files by Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings as django_settings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from serving.access.rules import METRICS
from serving.accounts import mail
from serving.gallery import examples, feedback
from serving.office import imports
from serving.runs import downloads
from serving.runs.runner import Runner
from serving.uploads import receiving
from serving.web import static_files
from serving.web.headers import SecurityHeaders
from serving.web.metrics import Counting, WebMetrics
from serving.web.pages import Pages


def create_app() -> Starlette:
    """The web application. Call `serving.web.configuration.setup()` before importing this module."""
    uploads = receiving.Uploads()
    metrics = WebMetrics(uploads)
    routes: list[Route | Mount] = [
        Route("/healthz", _healthz),
        Route(METRICS, metrics.answer),
        static_files.mount(),
        *uploads.routes,
        *downloads.routes(),
        *feedback.routes(),
        *imports.Imports().routes,
        Mount("/", Pages()),
    ]
    metrics.know(routes)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Counting, metrics=metrics), Middleware(SecurityHeaders, hsts=_hsts())],
        lifespan=_lifespan,
    )


def _hsts() -> str:
    """As Django's, which answers only a part of the addresses."""
    age = django_settings.SECURE_HSTS_SECONDS
    return f"max-age={age}; includeSubDomains; preload" if age else ""


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    runner = Runner(chores=examples.refresh)
    receiving.on_uploaded(runner.wake)
    await asyncio.to_thread(runner.start)
    with mail.sender():
        yield
    await asyncio.to_thread(runner.stop)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")
