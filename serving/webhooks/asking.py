"""`?webhook=https://...` in the submission of a task, as a router reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from registry.core.errors import BadInput, Unauthorized
from registry.core.settings import settings
from serving.access.middleware import ADMITTED
from serving.webhooks import store
from serving.wire.database_threads import DatabaseThreads
from serving.wire.fetching import address_check, check_address

WEBHOOK = "webhook"
MAX_LENGTH = 2000


@dataclass(frozen=True)
class Webhook:
    """An address to call, and the id of the key whose secret signs the call."""

    url: str
    key: str


def webhook_of(request: Request, rest: str) -> Webhook | None:
    """The webhook that a submission asks for.

    Raises:
        BadInput: an address that is malformed or not public, or not https.
        Unauthorized: the caller has no key, so there is no secret to sign with.
    """
    given = request.query_params.getlist(WEBHOOK) if request.method == "POST" and rest == "tasks" else []
    if not given:
        return None
    url, private = given[0], settings().webhook_private_addresses
    if len(given) > 1 or len(url) > MAX_LENGTH or not (private or url.lower().startswith("https://")):
        raise BadInput(
            f"webhook is {', '.join(given)[:80]!r}",
            expected=f"one https address of at most {MAX_LENGTH} characters",
            fix="correct ?webhook=",
        )
    check_address(url, address_check(private))
    api_key = request.scope["state"][ADMITTED].api_key
    if api_key is None:
        raise Unauthorized(
            "a webhook was asked for without a key",
            expected="a key, whose webhook secret signs the call",
            fix="send a key, or look at the task with `Prefer: wait=30`",
        )
    return Webhook(url, api_key.id)


class Webhooks:
    """Notes webhooks of tasks that were submitted."""

    def __init__(self) -> None:
        self._database = DatabaseThreads(1, "webhooks")

    async def note(self, webhook: Webhook | None, model: str, response: Response) -> None:
        """Notes the webhook of the task in the answer to its submission. Raises MissingService."""
        if webhook is not None and response.status_code == 202 and not isinstance(response, StreamingResponse):
            task = json.loads(bytes(response.body))
            await self._database.run(partial(store.note, task["id"], model, webhook.key, webhook.url))
