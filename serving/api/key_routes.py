"""The typed routes of a caller's own key. Import only after `registry.core.database.setup()`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query

from registry.core.errors import Forbidden, Unauthorized
from serving.access import keys
from serving.access.keys import ApiKey
from serving.access.webhook_secrets import webhook_secret
from serving.api import queries
from serving.api.typed import access_of, admitted_of, api, in_database, query_pairs, refusals
from serving.client.key_schemas import Caller, NewKey, WebhookSecret
from serving.query.paging import bad_value
from serving.wire.negotiation import check_query


@api.get(
    "/v1/whoami",
    response={200: Caller, **refusals()},
    operation_id="whoami",
    summary="Who the caller is, and what its key may do",
    tags=["keys"],
)
async def whoami(request: HttpRequest) -> Any:
    """Tests a key. It counts as no request, and answers where the quota is used up."""
    check_query(query_pairs(request), ())
    return queries.whoami(admitted_of(request), access_of(request))


@api.post(
    "/v1/keys/self/rotate",
    response={200: NewKey, **refusals(409)},
    operation_id="rotate",
    summary="Give the caller's key a new secret",
    tags=["keys"],
)
async def rotate(
    request: HttpRequest,
    response: HttpResponse,
    grace_s: Annotated[str, Query(description="seconds for which the old secret stays valid; default: 86400")] = "",
) -> Any:
    """The answer has the new key, this once. Id, scope, quota, expiry, predictions and tasks stay. The old secret is
    valid for the grace time, and cannot rotate the key again."""
    check_query(query_pairs(request), ("grace_s",))
    api_key = _own_key(request)
    if grace_s and not (grace_s.isdigit() and grace_s.isascii() and len(grace_s) <= 9):
        raise bad_value("grace_s", grace_s, "whole seconds", "e.g. ?grace_s=3600")
    grace = timedelta(seconds=int(grace_s)) if grace_s else keys.GRACE
    rotated, token = await in_database(partial(keys.rotate, api_key.id, grace))
    response["Cache-Control"] = "no-store"
    assert rotated.old_until is not None
    return NewKey(key=token, id=rotated.caller, old_until=datetime.fromtimestamp(rotated.old_until, UTC))


@api.get(
    "/v1/keys/self/webhook-secret",
    response={200: WebhookSecret, **refusals()},
    operation_id="webhook_secret",
    summary="The secret that signs the webhooks of the caller's key",
    tags=["keys"],
)
async def secret(request: HttpRequest, response: HttpResponse) -> Any:
    """The receiver of a webhook checks its signature with it, as Standard Webhooks says. A rotated key keeps it."""
    check_query(query_pairs(request), ())
    api_key = _own_key(request)
    response["Cache-Control"] = "no-store"
    return WebhookSecret(secret=await in_database(partial(webhook_secret, api_key.id)))


def _own_key(request: HttpRequest) -> ApiKey:
    """The key of the request, by its present secret. Raises Unauthorized, Forbidden."""
    api_key = admitted_of(request).api_key
    if api_key is None:
        raise Unauthorized(
            "the request has no key",
            expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`",
            fix="send the key that is to be changed",
        )
    if api_key.secret_until is not None:
        raise Forbidden(
            "the key was rotated, and this is its old secret",
            expected="the present secret",
            fix="send the new key; if it is lost, ask whoever runs this to rotate it once more",
        )
    return api_key
