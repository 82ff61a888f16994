"""Static files of the pages: our own, those of other projects in `static/vendor`, and allauth's.

Their address holds a hash of their contents, so that browsers keep them for a year and never show old ones.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

PACKAGES = (
    "serving.web",
    "serving.gallery",
    "serving.accounts",
    "serving.office",
    "allauth.account",
    "allauth.mfa",
)
"""Each may have a folder `static`."""


def folders() -> list[Path]:
    found = []
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append(Path(spec.origin).parent / "static")
    return [folder for folder in found if folder.is_dir()]


@cache
def url() -> str:
    """The address of static files, e.g. "/static/1f3a9c20/"."""
    digest = hashlib.sha256()
    for folder in folders():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)}\0".encode())
                digest.update(path.read_bytes())
    return f"/static/{digest.hexdigest()[:12]}/"


class _Kept(StaticFiles):
    """Files that a browser keeps for a year."""

    def file_response(self, *args: object, **options: object) -> Response:
        response = super().file_response(*args, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def get_directories(self, *_: object) -> list[Path]:  # type: ignore[override]
        return folders()


def mount() -> Mount:
    """The route of the static files, compressed for browsers that take it."""
    return Mount(url().rstrip("/"), GZipMiddleware(_Kept(), minimum_size=1000))
