"""Static files of the pages: our own, those of other projects in `static/vendor`, and allauth's.

Their address holds a hash of their contents, so that browsers keep them for a year and never show old ones. Each is
compressed once: a new visitor's would take the event loop 30 ms otherwise.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

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


COMPRESSED = (".css", ".js", ".svg", ".json")
LEAST_BYTES = 1000


class _Kept(StaticFiles):
    """Files that a browser keeps for a year, compressed for browsers that take it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if not isinstance(response, FileResponse) or not path.endswith(COMPRESSED):
            return response
        response.headers["Vary"] = "Accept-Encoding"
        small = int(response.headers["content-length"]) < LEAST_BYTES
        if small or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return response
        content = await asyncio.to_thread(_compressed, str(response.path))
        headers = {**response.headers, "content-encoding": "gzip", "content-length": str(len(content))}
        return Response(b"" if scope["method"] == "HEAD" else content, headers=headers)

    def file_response(self, *args: object, **options: object) -> Response:
        response = super().file_response(*args, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def get_directories(self, *_: object) -> list[Path]:  # type: ignore[override]
        return folders()


def mount() -> Mount:
    """The route of the static files."""
    return Mount(url().rstrip("/"), _Kept())


@lru_cache(maxsize=256)
def _compressed(path: str) -> bytes:
    """Files do not change while a process runs: their address would, too."""
    return gzip.compress(Path(path).read_bytes(), mtime=0)
