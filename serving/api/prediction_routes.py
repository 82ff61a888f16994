"""The typed routes of predictions and their labels. Import only after `registry.core.database.setup()`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Path, Query

from registry.core.errors import NotFound
from serving.access.keys import ApiKey
from serving.api import history, labels, queries
from serving.api.history import Filters
from serving.api.typed import admitted_of, api, caller_of, in_database, query_pairs, refusals
from serving.client.schemas import Deletion, FeedbackReceipt, LoggedPrediction, PredictionPage
from serving.query.paging import MAX_LIMIT, read_cursor, read_limit
from serving.wire.negotiation import check_query

WAIT_S, LOOK_EVERY_S = 3.0, 0.1
"""A prediction is in the log a fraction of a second after its answer; longer while the database is busy or away."""
MAX_WAITING = 32
"""Requests that wait for a prediction at once."""
PredictionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="the X-Prediction-Id of an answer")]
_FILTERS = ("model", "version", "since", "until", "outcome", "caller", "limit", "cursor")

_waiting = 0


@api.get(
    "/v1/predictions",
    response={200: PredictionPage, **refusals()},
    operation_id="predictions",
    summary="Earlier predictions with their answers, the newest first",
    tags=["predictions"],
)
async def predictions(
    request: HttpRequest,
    model: Annotated[str, Query(description="only of this model")] = "",
    version: Annotated[str, Query(description="only of this version: a number")] = "",
    since: Annotated[str, Query(description="a day (UTC), or a time as ISO 8601 with its offset or Z")] = "",
    until: Annotated[str, Query(description="as since; a day is included, a time is not")] = "",
    outcome: Annotated[str, Query(description="ok, failed, or the class of an error, e.g. BadInput")] = "",
    caller: Annotated[str, Query(description="with the action admin: only of this key's id, or address")] = "",
    limit: Annotated[str, Query(description=f"most predictions in the answer, 1 to {MAX_LIMIT}")] = "",
    cursor: Annotated[str, Query(description="`next_cursor` of the page before")] = "",
) -> Any:
    """The caller's own predictions; those of everybody, with a key that has the action admin. A page that follows
    by cursor goes on where the one before ended, whatever was predicted meanwhile."""
    check_query(query_pairs(request), _FILTERS)
    filters = Filters.read(model, version, since, until, outcome, caller)
    where = read_cursor(cursor), read_limit(limit)
    api_key = admitted_of(request).api_key
    return await in_database(partial(history.page, filters, caller_of(request), api_key, *where))


@api.get(
    "/v1/predictions/{prediction_id}",
    response={200: LoggedPrediction, **refusals(404)},
    operation_id="prediction",
    summary="What the log has about a prediction",
    tags=["predictions"],
)
async def prediction(request: HttpRequest, prediction_id: PredictionId) -> Any:
    """The caller's own predictions; any, with a key that has the action admin."""
    check_query(query_pairs(request), ())
    row = await _find(request, prediction_id)
    return await in_database(partial(queries.described, row))


@api.delete(
    "/v1/predictions/{prediction_id}",
    response={200: Deletion, **refusals(404)},
    operation_id="delete_prediction",
    summary="Delete all that is kept of a prediction",
    tags=["predictions"],
)
async def delete_prediction(request: HttpRequest, prediction_id: PredictionId) -> Any:
    """Deletes the input, the answer, the label, and what the log has; afterwards the id is unknown. The caller's own
    predictions; any, with a key that has the action admin. A case that the data set made of input and label stays."""
    check_query(query_pairs(request), ())
    row = await _find(request, prediction_id)
    return await in_database(partial(queries.delete, row))


@api.post(
    "/v1/predictions/{prediction_id}/feedback",
    response={200: FeedbackReceipt, **refusals(404, 408, 409, 413, 415)},
    operation_id="feedback",
    summary="Say what would have been right",
    tags=["predictions"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["label"],
                        "properties": {
                            "label": {"type": "string", "minLength": 1, "maxLength": labels.MAX_LABEL_LENGTH}
                        },
                    },
                    "example": {"label": "apple"},
                },
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "description": "one of the two",
                        "properties": {
                            "label": {"type": "string"},
                            "file": {"type": "string", "format": "binary"},
                        },
                    }
                },
            },
        }
    },
)
async def feedback(request: HttpRequest, prediction_id: PredictionId) -> Any:
    """The label of the caller's own prediction: a class as text, or a file as the model's data set has it (a mask,
    boxes). It is checked for the model and for the input; one that could never be scored is refused: 409 where the
    request had failed or the input is not kept any more. A second label takes the place of the first."""
    truth = labels.label_of(request)
    row = await _find(request, prediction_id)
    replaced = await in_database(partial(queries.label, row, truth, caller_of(request)))
    return FeedbackReceipt(prediction=row.id, model=row.model, version=row.version, replaced=replaced)


async def _find(request: HttpRequest, prediction_id: str) -> queries.Row:
    """The caller's prediction. Waits a moment for one that is still on its way into the log.

    Where `MAX_WAITING` requests wait already, it looks once. Another caller's prediction is answered like an unknown
    one, after the same time, so that ids cannot be guessed.
    """
    global _waiting
    api_key = admitted_of(request).api_key
    found = await _own(prediction_id, caller_of(request), api_key)
    if found is None and _waiting < MAX_WAITING:
        _waiting += 1
        try:
            end = asyncio.get_running_loop().time() + WAIT_S
            while found is None and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOK_EVERY_S)
                found = await _own(prediction_id, caller_of(request), api_key)
        finally:
            _waiting -= 1
    if found is None:
        raise NotFound(
            f"there is no prediction {prediction_id}",
            expected="the X-Prediction-Id of an answer to this caller",
            fix="check the id; if the answer is a moment old, try again",
        )
    return found


async def _own(prediction_id: str, caller: str, api_key: ApiKey | None) -> queries.Row | None:
    row = await in_database(partial(queries.find, prediction_id))
    return row if row is not None and queries.may_see(row, caller, api_key) else None
