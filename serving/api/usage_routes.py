"""The typed route of a caller's usage. Import only after `registry.core.database.setup()`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query
from pydantic import BeforeValidator

from registry.core.errors import BadInput
from serving.api import queries
from serving.api.typed import access_of, admitted_of, api, in_database, query_pairs, refusals
from serving.client.key_schemas import UsageReport
from serving.wire.negotiation import check_query


def _day(value: object) -> object:
    """Refuses numbers, which pydantic takes as seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("not a day")
    return value


Day = Annotated[date, BeforeValidator(_day)]


@api.get(
    "/v1/usage",
    response={200: UsageReport, **refusals()},
    operation_id="usage",
    summary="Usage by key, model and day",
    tags=["usage"],
)
async def usage(
    request: HttpRequest,
    since: Annotated[Day | None, Query(description="first day, UTC; default: the first of this month")] = None,
    until: Annotated[Day | None, Query(description="last day, UTC; default: today")] = None,
) -> Any:
    """Usage of the caller's key; with the action admin, of all keys for the models of this key. Up to this
    moment for this router, up to a second ago for others."""
    check_query(query_pairs(request), ("since", "until"))
    today = datetime.now(UTC).date()
    first, last = since or today.replace(day=1), until or today
    if first > last:
        raise BadInput(f"since is {first}, until {last}", expected="since not after until", fix="swap the two")
    return await in_database(partial(queries.usage, admitted_of(request), access_of(request), first, last))
