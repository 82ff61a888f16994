"""What each route of the web application answers to whom. A route that is not here fails the walk."""

from __future__ import annotations

from dataclasses import dataclass, field

WHO = ("stranger", "other", "viewer", "operator", "administrator")
"""And the owner, whose things the addresses name."""


@dataclass(frozen=True)
class Row:
    """A route's answers: statuses of `WHO`, then of the owner. "login": a redirect to the log-in; "302": to elsewhere.

    Attributes:
        post, put, delete: of `WHO` only, with a valid CSRF token; "": no such method.
        values: what stands for a parameter: a name in `Walkers.values`, or itself.
        shows: what of the owner's an administrator or a viewer may see in it, beside `Walkers.known`.
        own_policy: whether its Content-Security-Policy is its own.
    """

    get: str
    post: str = ""
    put: str = ""
    delete: str = ""
    values: dict[str, str] = field(default_factory=dict)
    shows: tuple[str, ...] = ()
    query: str = ""
    own_policy: bool = False


ALL = "200 200 200 200 200 200"
GONE = "404 404 404 404 404 404"
LOGGED_IN = "login 200 200 200 200 200"
OWNER = "404 404 404 404 404 200"
VIEWER = "login 403 200 200 200 403"
OPERATOR = "login 403 403 200 200 403"
ADMINISTRATOR = "login 403 403 403 200 403"
NO_WAY_BACK = "login 403 403 302 302 403"
NO = "405 405 405 405 405 405"
NO_GET = "login 405 405 405 405 405"
NOT_IN = "200 302 302 302 302 302"
TO_FORM = "login 302 302 302 302 302"
FORBIDDEN = "login 403 403 403 403 403"
NOT_THERE = "login 404 404 404 404 404"
OTHERS_404 = "login 404 404 404 404"


def changes(row: str) -> str:
    """The statuses of `WHO` alone."""
    return row.rpartition(" ")[0]


RUN = {"run_id": "run", "run": "run", "other_id": "run", "axis": "2", "number": "0"}
LINK = {"token": "ended link", "axis": "2", "number": "0"}
NOWHERE = {"identity": "6f1f2a40-0000-4000-8000-000000000000"}
MODEL = {"name": "model"}
FACTOR = {"pk": "factor number"}

_GALLERY = {
    "/": [Row(ALL, changes(ALL))],
    "/models/<slug:name>/": [Row(ALL, changes(ALL), values=MODEL)],
    "/history/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/uploads": [Row(NO, "401 422 422 422 422")],
    "/uploads/<str:run_id>": [Row("401 404 404 404 404 200", delete="401 404 404 404 404", values=RUN)],
    "/uploads/<id>": [Row("401 404 404 404 404 200", put="401 404 404 404 404", values={"id": "run"})],
    "/feedback/<run>": [Row(GONE, "401 404 404 404 404", values=RUN)],
    "/files/<run>/<name>": [
        Row(OWNER, values={**RUN, "name": name})
        for name in ("input", "answer.json", "annotated.jpg", "thumbnail.jpg", "all.zip")
    ],
    "/runs/<str:run_id>/": [Row(OWNER, "404 404 404 404 404", values=RUN)],
    "/runs/<str:run_id>/beside": [Row(OWNER, "404 404 404 404 404", values=RUN)],
    "/models/<slug:name>/key": [Row(NO_GET, OTHERS_404, values={"name": "nothing"})],
    "/runs/<str:run_id>/status": [Row(OWNER, "404 404 404 404 404", values=RUN)],
    "/runs/<str:run_id>/heat": [Row(OWNER, "404 404 404 404 404", values=RUN)],
    "/runs/<str:run_id>/slices/": [Row("404 404 404 404 404 404", values=RUN)],
    "/runs/<str:run_id>/slices/<int:axis>/<int:number>.png": [Row(GONE, values=RUN)],
    "/runs/<str:run_id>/compare/<str:other_id>/": [Row(OWNER, values=RUN)],
    "/runs/<run_id>/<action>": [
        Row(NO, OTHERS_404, values={**RUN, "action": action})
        for action in ("cancel", "retry", "again", "share", "delete")
    ],
    "/shared/<token>/files/<name>": [Row(GONE, values={**LINK, "name": "input"})],
    "/shared/<str:token>/": [Row(GONE, values=LINK)],
    "/shared/<str:token>/slices/": [Row(GONE, values=LINK)],
    "/shared/<str:token>/slices/<int:axis>/<int:number>.png": [Row(GONE, values=LINK)],
}

_ACCOUNTS = {
    "/accounts/profile/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/keys/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/keys/<slug:key>/revoke/": [Row(NO_GET, changes(TO_FORM), values={"key": "key"})],
    "/accounts/keys/<slug:key>/rotate/": [Row(NO_GET, changes(TO_FORM), values={"key": "key"})],
    "/accounts/data/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/data/export/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/data/delete/": [Row(NO_GET, "login 422 422 422 422")],
    "/accounts/sessions/<int:number>/end/": [Row(NO_GET, OTHERS_404, values={"number": "session"})],
    "/accounts/sessions/": [Row(LOGGED_IN, changes(TO_FORM))],
    "/accounts/login/": [Row(NOT_IN, changes(NOT_IN))],
    "/accounts/logout/": [Row("302 200 200 200 200 200", "302 - - - -", "405 - - - -")],
    "/accounts/inactive/": [Row(ALL)],
    "/accounts/signup/": [Row(NOT_IN, changes(NOT_IN))],
    "/accounts/reauthenticate/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/reauthenticate/code/": [Row(FORBIDDEN, changes(FORBIDDEN))],
    "/accounts/reauthenticate/code/confirm/": [Row(FORBIDDEN, changes(FORBIDDEN))],
    "/accounts/email/": [Row(LOGGED_IN, changes(TO_FORM))],
    "/accounts/confirm-email/": [Row(ALL)],
    "/accounts/confirm-email/<key>/": [Row(ALL, "404 404 404 404 404", values={"key": "nothing"})],
    "/accounts/password/change/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/password/set/": [Row(TO_FORM, changes(TO_FORM))],
    "/accounts/password/reset/": [Row(ALL, changes(ALL))],
    "/accounts/password/reset/done/": [Row(ALL)],
    "/accounts/password/reset/key/done/": [Row(ALL)],
    "/accounts/password/reset/key/<uidb36>-<key>/": [Row(ALL, values={"uidb36": "1", "key": "nothing"})],
    "/accounts/login/code/confirm/": [Row(TO_FORM)],
    "/accounts/2fa/": [Row(LOGGED_IN)],
    "/accounts/2fa/authenticate/": [Row(TO_FORM, changes(TO_FORM))],
    "/accounts/2fa/reauthenticate/": [Row(TO_FORM, changes(TO_FORM))],
    "/accounts/2fa/totp/activate/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/2fa/totp/deactivate/": [Row(NOT_THERE, changes(NOT_THERE))],
    "/accounts/2fa/recovery-codes/": [Row(NOT_THERE)],
    "/accounts/2fa/recovery-codes/generate/": [Row(LOGGED_IN, changes(LOGGED_IN))],
    "/accounts/2fa/recovery-codes/download/": [Row(NOT_THERE, changes(NOT_THERE))],
    "/accounts/2fa/webauthn/": [Row(LOGGED_IN)],
    "/accounts/2fa/webauthn/add/": [Row("login 200 200 200 200 -", changes(LOGGED_IN))],
    "/accounts/2fa/webauthn/reauthenticate/": [Row("login 302 302 302 302 -", "login 302 302 302 302")],
    "/accounts/2fa/webauthn/login/": [Row(TO_FORM, changes(TO_FORM))],
    "/accounts/2fa/webauthn/keys/<int:pk>/remove/": [Row("login 404 404 404 404 200", OTHERS_404, values=FACTOR)],
    "/accounts/2fa/webauthn/keys/<int:pk>/edit/": [Row("login 404 404 404 404 200", OTHERS_404, values=FACTOR)],
    "/contact/": [Row(ALL, "422 422 422 422 422")],
    "/language/": [Row(NO, "302 302 302 302 302")],
}


def action_of(action: str) -> dict[str, str]:
    """Of a model that no test releases."""
    return {"name": "weapon_detection", "action": action}


_OFFICE = {
    "/office/": [Row(VIEWER, changes(VIEWER))],
    "/office/now/": [Row(VIEWER, changes(VIEWER))],
    "/office/processes/<name>/<action>/": [
        Row(OPERATOR, changes(OPERATOR), values={"name": "keeper", "action": action}) for action in ("restart", "drain")
    ],
    "/office/models/": [Row(VIEWER, changes(VIEWER))],
    "/office/models/<slug:name>/": [Row(VIEWER, changes(VIEWER), values=MODEL)],
    "/office/models/<name>/<action>/": [
        *(
            Row("login 403 403 404 404 403", "login 403 403 404 404", values=action_of(action), query="?version=999")
            for action in ("release", "canary", "shadow", "ab")
        ),
        *(Row(NO_WAY_BACK, changes(NO_WAY_BACK), values=action_of(action)) for action in ("promote", "rollback")),
    ],
    "/office/lists/<slug:name>/": [
        Row(VIEWER, changes(VIEWER), values={"name": "predictions"}, shows=("run",)),  # in the address of its thumbnail
        *(Row(VIEWER, changes(VIEWER), values={"name": name}) for name in ("keys", "usage", "audit")),
        *(Row(VIEWER, values={"name": name}, query="?format=csv") for name in ("predictions", "keys", "audit")),
        Row(ADMINISTRATOR, values={"name": "users"}),
        Row(ADMINISTRATOR, values={"name": "users"}, query="?format=csv"),
        Row(ADMINISTRATOR, values={"name": "messages"}, shows=("message",)),
        Row(ADMINISTRATOR, values={"name": "messages"}, query="?format=csv", shows=("message",)),
    ],
    "/office/lists/<slug:name>/act/": [
        Row("login 403 302 302 302 403", "login 403 302 302 302", values={"name": "keys"}),
        Row(
            "login 403 302 302 200 403",
            "login 403 302 302 200",
            values={"name": "keys"},
            query="?action=revoke&chosen=x",
        ),
        Row(ADMINISTRATOR, changes(ADMINISTRATOR), values={"name": "users"}, query="?action=disable&chosen=1"),
    ],
    "/office/lists/messages/<int:number>/": [
        Row(ADMINISTRATOR, changes(ADMINISTRATOR), values={"number": "message"}, shows=("message",))
    ],
    "/office/thumbnails/<slug:run>/": [Row(ADMINISTRATOR, changes(ADMINISTRATOR), values=RUN, shows=("picture",))],
    "/office/charts/": [Row(VIEWER, changes(VIEWER))],
    "/office/runs/import/": [Row(OPERATOR, changes(OPERATOR))],
    "/office/runs/import/file": [Row(GONE, put="401 403 403 404 404")],
    "/office/story/": [Row("login 403 503 503 503 403", "login 403 503 503 503")],
    "/office/documents/": [Row(VIEWER, changes(VIEWER))],
    "/office/documents/<name>/": [
        Row(VIEWER, changes(VIEWER), values={"name": name}) for name in ("decisions", "reports", "data-docs")
    ],
    "/office/documents/<name>/<path>": [
        Row("login 403 404 404 404 403", values={"name": "decisions", "path": path})
        for path in ("nothing.html", "..%2f..%2fencryption.key")
    ],
    "/office/runs/": [Row(VIEWER, changes(VIEWER))],
    "/office/runs/now/": [Row(VIEWER, changes(VIEWER))],
    "/office/runs/train/": [Row(OPERATOR, changes(OPERATOR))],
    "/office/runs/<uuid:identity>/": [Row(VIEWER, changes(VIEWER), values=NOWHERE)],
    "/office/runs/<uuid:identity>/now/": [Row(VIEWER, changes(VIEWER), values=NOWHERE)],
    "/office/runs/<uuid:identity>/cancel/": [Row(OPERATOR, changes(OPERATOR), values=NOWHERE)],
}

PAGES: dict[str, list[Row]] = {
    "/healthz": [Row(ALL)],
    "/metrics": [Row(ALL)],  # on this machine, see tests.serving.web.test_web_metrics
    "/static/<digest>/<path>": [Row(GONE, values={"digest": "0", "path": "x.js"})],
    "/favicon.ico": [Row("302 302 302 302 302 302", "302 302 302 302 302")],
    **_GALLERY,
    **_ACCOUNTS,
    **_OFFICE,
}
