"""Which pages of other origins may call the router from a browser (CORS), by the setting `cors_origins`."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from registry.core.settings import settings

REQUEST_HEADERS = (
    "Accept", "Authorization", "Content-Type", "Idempotency-Key", "Prefer", "X-API-Key", "X-Request-Id",
)  # fmt: skip
ANSWER_HEADERS = (
    "Content-Disposition", "Idempotent-Replayed", "Location", "Preference-Applied", "RateLimit-Limit",
    "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Server-Timing", "X-Model", "X-Model-Version",
    "X-Prediction-Id", "X-Release-Role", "X-Request-Id",
)  # fmt: skip
MAX_AGE_S = 600


def cors() -> list[Middleware]:
    """The middleware; none where no origin is allowed.

    A page has to send its key in a header, so no cookies are allowed, and a key is checked as for anybody else.
    """
    origins = settings().origins
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=MAX_AGE_S,
        )
    ]
