"""What each route of the API answers to whom, where keys are required. A route that is not here fails the walk."""

from __future__ import annotations

from tests.serving.walk.pages import Row

OPEN = "200 200 200 200 200 200"
WITH_KEY = "401 200 200 200 200 200"
OWNER = "401 404 404 404 200 200"
"""And an administrator's key, which may see everybody's."""
NOT_ASKED = "401 404 404 404 -"
"""An administrator's key would do it."""
EVERYTHING = ("class", "label", "prediction", "key", "key name", "task", "address")
BY_ID = {"prediction_id": "prediction", "id": "task", "model": "model"}
MODEL = {"model": "model"}
EMPTY = "401 422 422 422 422"


def _of_models(path: str) -> str:
    return f"/v1/models/<model>/{path}"


API: dict[str, list[Row]] = {
    "/": [Row("307 307 307 307 307 307")],
    "/healthz": [Row(OPEN)],
    "/docs": [Row(OPEN)],
    "/docs/<name>": [Row("404 404 404 404 404 404", values={"name": "nothing"})],
    "/openapi.json": [Row(OPEN)],
    "/metrics": [Row(OPEN)],  # on this machine, else with an administrator's key, see test_router_metrics
    "/-/routes": [Row(OPEN)],  # on this machine only, see tests.serving.access.test_middleware
    "/v1/models": [Row(OPEN)],
    "/v1/predictions": [Row(WITH_KEY, shows=EVERYTHING)],
    "/v1/predictions/<prediction_id>": [Row(OWNER, delete=NOT_ASKED, values=BY_ID, shows=EVERYTHING)],
    "/v1/predictions/<prediction_id>/feedback": [
        Row("401 405 405 405 405 405", "401 415 415 415 -", values=BY_ID, shows=EVERYTHING)
    ],
    "/v1/tasks": [Row(WITH_KEY, shows=EVERYTHING)],
    "/v1/usage": [Row(WITH_KEY, shows=EVERYTHING)],
    "/v1/whoami": [Row(WITH_KEY)],
    "/v1/keys/self/rotate": [Row("401 405 405 405 405 405", "401 - - - -")],  # of one's own key
    "/v1/keys/self/webhook-secret": [Row(WITH_KEY)],
    **{
        _of_models(name): [Row("401 405 405 405 405 405", EMPTY, values=MODEL)]
        for name in ("predict", "render", "explain", "tasks")
    },
    _of_models("embed"): [Row("401 404 404 404 404 404", "401 404 404 404 404", values=MODEL)],  # no detector does
    _of_models("tasks/<id>"): [Row(OWNER, delete=NOT_ASKED, values=BY_ID, shows=EVERYTHING)],
    _of_models("tasks/<id>/result"): [Row(OWNER, values=BY_ID, shows=EVERYTHING)],
    **{_of_models(name): [Row(OPEN, values=MODEL)] for name in ("schema", "openapi.json", "docs")},
    _of_models(""): [Row("307 307 307 307 307 307", values=MODEL)],
    _of_models("metrics"): [Row("401 403 403 403 200 403", values=MODEL)],
}

SPOOFED = {"X-Tasks-Of": "owner", "X-Caller": "owner", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "owner"}
"""Headers that say to be somebody else, or of whom everything may be seen."""
