"""Every page of the web application, by the route it has: what there is to look at, and who may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MODEL = "object_detection"
EMPTY = "fruit_features"
"""A model that has no version."""

OPEN = {
    "/": ("/",),
    "/models/<slug:name>/": (*(f"/models/{MODEL}/?tab={tab}" for tab in ("try", "api", "about")), f"/models/{EMPTY}/"),
    "/shared/<str:token>/": ("{shared}", "/shared/ended/"),
    "/contact/": ("/contact/",),
    "/language/": ("/language/",),
    "/accounts/login/": ("/accounts/login/",),
    "/accounts/signup/": ("/accounts/signup/",),
    "/accounts/inactive/": ("/accounts/inactive/",),
    "/accounts/confirm-email/": ("/accounts/confirm-email/",),
    "/accounts/confirm-email/<key>/": ("/accounts/confirm-email/no/",),
    "/accounts/password/reset/": ("/accounts/password/reset/",),
    "/accounts/password/reset/done/": ("/accounts/password/reset/done/",),
    "/accounts/password/reset/key/<uidb36>-<key>/": ("/accounts/password/reset/key/1-no/",),
    "/accounts/password/reset/key/done/": ("/accounts/password/reset/key/done/",),
}
"""Seen by everybody. `{name}` stands for what a test made."""
OWN = {
    "/models/<slug:name>/": (f"/models/{MODEL}/?tab=try", f"/models/{MODEL}/?tab=examples"),
    "/runs/<str:run_id>/": (
        *(f"/runs/{{{kind}}}/" for kind in ("boxes", "classes", "faces", "video", "scan")),
        *(f"/runs/{{{state}}}/" for state in ("uploading", "waiting", "running", "failed", "cancelled")),
        "/runs/{scan}/?viewer=slices",
    ),
    "/runs/<str:run_id>/compare/<str:other_id>/": ("/runs/{boxes}/compare/{boxes}/",),
    "/history/": ("/history/", "/history/?state=failed&model=face_gender"),
    "/accounts/profile/": ("/accounts/profile/",),
    "/accounts/keys/": ("/accounts/keys/",),
    "/accounts/data/": ("/accounts/data/",),
    "/accounts/email/": ("/accounts/email/",),
    "/accounts/password/change/": ("/accounts/password/change/",),
    "/accounts/reauthenticate/": ("/accounts/reauthenticate/",),
    "/accounts/sessions/": ("/accounts/sessions/",),
    "/accounts/logout/": ("/accounts/logout/",),
    "/accounts/2fa/": ("/accounts/2fa/",),
    "/accounts/2fa/webauthn/": ("/accounts/2fa/webauthn/",),
}
"""Seen by who has an account."""
LISTS = ("predictions", "users", "keys", "usage", "messages", "audit")
OFFICE = {
    "/office/": ("/office/",),
    "/office/processes/<name>/<action>/": ("/office/processes/keeper/restart/", "/office/processes/keeper/drain/"),
    "/office/models/": ("/office/models/",),
    "/office/models/<slug:name>/": (f"/office/models/{MODEL}/", f"/office/models/{EMPTY}/"),
    "/office/models/<name>/<action>/": (
        *(f"/office/models/{MODEL}/{action}/?version=1" for action in ("release", "canary", "rollback")),
    ),
    "/office/lists/<slug:name>/": (*(f"/office/lists/{name}/" for name in LISTS), "/office/lists/users/?q=zzz"),
    "/office/lists/<slug:name>/act/": ("/office/lists/messages/act/?chosen={message}&action=close",),
    "/office/lists/messages/<int:number>/": ("/office/lists/messages/{message}/",),
    "/office/charts/": ("/office/charts/", f"/office/charts/?model={MODEL}"),
    "/office/documents/": ("/office/documents/",),
    "/office/documents/<name>/": ("/office/documents/decisions/",),
    "/office/story/": ("/office/story/",),
    "/office/runs/": ("/office/runs/",),
    "/office/runs/train/": ("/office/runs/train/",),
    "/office/runs/import/": ("/office/runs/import/",),
    "/office/runs/<uuid:identity>/": ("/office/runs/00000000-0000-0000-0000-000000000000/",),
}
"""Seen by administrators."""
ELSEWHERE = {
    "/accounts/2fa/authenticate/": "tests of the second factor",
    "/accounts/2fa/reauthenticate/": "tests of the second factor",
    "/accounts/2fa/recovery-codes/": "tests of the second factor",
    "/accounts/2fa/recovery-codes/generate/": "tests of the second factor",
    "/accounts/2fa/totp/activate/": "tests of the second factor",
    "/accounts/2fa/totp/deactivate/": "tests of the second factor",
    "/accounts/2fa/webauthn/add/": "tests of the second factor",
    "/accounts/2fa/webauthn/keys/<int:pk>/edit/": "looks as the page that adds one",
    "/accounts/2fa/webauthn/keys/<int:pk>/remove/": "looks as the page that adds one",
    "/accounts/2fa/webauthn/reauthenticate/": "looks as the other ways to confirm that it is oneself",
    "/accounts/login/code/confirm/": "codes by mail are off: leads to the log-in",
    "/accounts/password/set/": "everybody has a password: leads to its change",
    "/accounts/reauthenticate/code/": "codes by mail are off",
    "/accounts/reauthenticate/code/confirm/": "codes by mail are off",
    "/office/documents/<name>/<path>": "written by the loop, and shown as they are",
    "/office/runs/<uuid:identity>/cancel/": "asks as the other buttons of the back office do; needs Prefect",
}
"""Pages that need more to be seen, and where they are looked at."""
NO_PAGE = {
    "/healthz", "/metrics", "/favicon.ico", "/uploads", "/uploads/<id>", "/uploads/<str:run_id>", "/files/<run>/<name>",
    "/shared/<token>/files/<name>", "/feedback/<run>", "/office/runs/import/file", "/office/thumbnails/<slug:run>/",
    "/runs/<str:run_id>/slices/", "/runs/<str:run_id>/slices/<int:axis>/<int:number>.png",
    "/shared/<str:token>/slices/", "/shared/<str:token>/slices/<int:axis>/<int:number>.png",
    "/runs/<str:run_id>/status", "/runs/<str:run_id>/heat", "/runs/<run_id>/<action>",
    "/office/now/", "/office/runs/now/", "/office/runs/<uuid:identity>/now/",
    "/runs/<str:run_id>/beside", "/static/<digest>/<path>", "/models/<slug:name>/key",
    "/accounts/keys/<slug:key>/rotate/",
    "/accounts/keys/<slug:key>/revoke/", "/accounts/data/export/", "/accounts/data/delete/",
    "/accounts/sessions/<int:number>/end/", "/accounts/2fa/webauthn/login/", "/accounts/2fa/recovery-codes/download/",
}  # fmt: skip
"""Files, JSON, parts of pages, and addresses of forms."""


def addresses(of: Mapping[str, tuple[str, ...]], made: Mapping[str, object]) -> Iterator[str]:
    """The addresses of pages, with what a test made in its place."""
    for listed in of.values():
        for one in listed:
            yield one.format(**made)
