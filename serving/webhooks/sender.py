"""Makes the calls that are due: a thread of the keeper."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import UTC, datetime

import orjson

from registry.core import database
from registry.core.errors import BadInput, NotFound
from registry.core.settings import settings
from serving.access.webhook_secrets import webhook_secret
from serving.webhooks import store
from serving.webhooks.signing import signed_headers
from serving.webhooks.store import Due
from serving.wire.fetching import address_check, post

POLL_S = 1.0
AT_ONCE = 16
GONE = 410
"""The status with which a receiver says that it wants no more."""

logger = logging.getLogger("visionloop.webhooks")


class Sender:
    """The thread. Several keepers may run: each call is made by one."""

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended
        self._away = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(POLL_S):
            try:
                send_due()
                self._away = False
            except Exception as error:  # whatever the database does, the thread lives and tries again
                if not self._away:
                    logger.warning("webhooks wait: %s", error, exc_info=not database.is_away(error))
                self._away = True
                database.close_connection()
        database.close_connection()


def send_due() -> int:
    """Makes the calls that are due, and returns how many."""
    due = store.take(AT_ONCE)
    if due:
        calls = [(one, *_message(one)) for one in due]
        outcomes = asyncio.run(_send([(one.url, body, headers) for one, body, headers in calls]))
        for one, (problem, final) in zip(due, outcomes, strict=True):
            store.end(one, problem, final)
            if problem:
                logger.info("webhook %s, attempt %d: %s", one.id, one.attempts + 1, problem)
    return len(due)


def _message(due: Due) -> tuple[bytes, dict[str, str]]:
    """Body and headers; both are empty where nothing can be sent any more."""
    try:
        secret = webhook_secret(due.key)
    except NotFound:
        return b"", {}
    if due.task is None:
        return b"", {}
    base = settings().public_address
    task = {**due.task, "url": base + due.task["url"], "result_url": base + due.task["result_url"]}
    body = orjson.dumps({"type": f"task.{task['state']}", "timestamp": datetime.now(UTC), "data": task})
    return body, signed_headers(due.id, body, secret, int(time.time()))


async def _send(calls: list[tuple[str, bytes, dict[str, str]]]) -> list[tuple[str, bool]]:
    return await asyncio.gather(*(_call(*one) for one in calls))


async def _call(url: str, body: bytes, headers: dict[str, str]) -> tuple[str, bool]:
    """What went wrong ("": nothing), and whether that is final."""
    if not headers:
        return "the task or the key is gone", True
    try:
        status = await post(url, body, headers, address_check(settings().webhook_private_addresses))
    except BadInput as error:
        return error.found, False
    return ("" if 200 <= status < 300 else f"the receiver answered {status}"), status == GONE
