"""Django's pages as an ASGI app: each request in one of a few threads that stay, and keep their database connection.

Django's own ASGI handler makes a thread and a connection for each request and hops between threads and event loop
several times on the way: more than half of a small page's processor time. All our views are ordinary functions.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpResponseBase
from django.urls import set_script_prefix
from starlette.types import Receive, Scope, Send

from registry.core import database

MAX_AT_ONCE = 32
"""Pages that Django works on at once. Others wait."""
KEEP_S = 600
ROUTE = "visionloop.route"
"""Where the scope has the name of the page's route, once it is answered; "": there is no such page."""


def keep_connections() -> None:
    """Makes the threads of this process keep their connection to the database. Call it before the first query."""
    from django.db import connections

    connections.settings["default"].update(CONN_MAX_AGE=KEEP_S, CONN_HEALTH_CHECKS=True)


class _Handler(ASGIHandler):
    """Django's handler, in ordinary functions from the first middleware to the view."""

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)


class Pages:
    """The ASGI app."""

    def __init__(self) -> None:
        self._handler = _Handler()
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, "pages")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._handler.read_body(receive)
        except RequestAborted:
            return
        context = copy_context()  # what a request sets, e.g. its language, ends with it
        with body:
            answer = self._threads.submit(context.run, self._answer, {**scope, "root_path": ""}, body)
            response = await asyncio.wrap_future(answer)
        scope[ROUTE] = getattr(response, ROUTE, "")
        if response.streaming:
            await self._stream(response, context, receive, send)
        else:
            await self._handler.send_response(response, send)

    def _answer(self, scope: Scope, body: Any) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=_Handler, scope=scope)
        request, refusal = self._handler.create_request(scope, body)
        response: Any = refusal or self._handler.get_response(request)
        response._handler_class = _Handler
        if match := getattr(request, "resolver_match", None):
            setattr(response, ROUTE, match.view_name)
        if not response.streaming:
            response.close()  # here, where the connection is: it ends the request
        return response  # type: ignore[no-any-return]

    async def _stream(self, response: Any, context: Context, receive: Receive, send: Send) -> None:
        """Sends piece by piece, in a thread of its own that ends with it, until nobody listens any more."""
        sending = asyncio.create_task(self._pieces(response, send), context=context)
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not sending.done():
                sending.cancel()
            results = await asyncio.gather(sending, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _pieces(self, response: Any, send: Send) -> None:
        async with ThreadSensitiveContext():
            try:
                await self._handler.send_response(response, send)
            finally:
                await sync_to_async(response.close)()
                await sync_to_async(database.close_connection)()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
