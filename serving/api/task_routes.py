"""The typed route of a caller's tasks. Import only after `registry.core.database.setup()`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import Query

from serving.access.keys import ALL
from serving.api.typed import admitted_of, api, caller_of, in_database, query_pairs, refusals
from serving.client.schemas import TaskPage
from serving.query.known_models import check_model
from serving.query.paging import MAX_LIMIT, bad_value, read_cursor, read_limit
from serving.tasks import listing
from serving.wire.negotiation import check_query


@api.get(
    "/v1/tasks",
    response={200: TaskPage, **refusals()},
    operation_id="tasks",
    summary="The caller's tasks, the newest first",
    tags=["tasks"],
)
async def tasks(
    request: HttpRequest,
    model: Annotated[str, Query(description="only of this model")] = "",
    state: Annotated[str, Query(description=f"one of {', '.join(listing.STATES)}")] = "",
    limit: Annotated[str, Query(description=f"most tasks in the answer, 1 to {MAX_LIMIT}")] = "",
    cursor: Annotated[str, Query(description="`next_cursor` of the page before")] = "",
) -> Any:
    """The tasks that this caller submitted; those of everybody, with a key that has the action admin. GET of a
    task's `url` looks at it, DELETE cancels it, and `result_url` has its result."""
    check_query(query_pairs(request), ("model", "state", "limit", "cursor"))
    if model:
        check_model(model)
    if state and state not in listing.STATES:
        raise bad_value("state", state, f"one of {', '.join(listing.STATES)}", "correct ?state=")
    api_key = admitted_of(request).api_key
    is_admin = api_key is not None and api_key.may("admin")
    reached = api_key.models if api_key is not None and is_admin and ALL not in api_key.models else None
    models = reached if not model else [model] if reached is None else reached & {model}
    work = partial(
        listing.page,
        caller=None if is_admin else caller_of(request),
        models=models,
        state=state,
        after=read_cursor(cursor),
        limit=read_limit(limit),
    )
    found, more = await in_database(work)
    # Not through the schema: it reads a task's error into an exception.
    return HttpResponse(orjson.dumps({"tasks": found, "next_cursor": more}), content_type="application/json")
