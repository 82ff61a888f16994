"""Who asks, for ASGI routes that Django does not answer: sessions and CSRF by Django's own code on the request's head.

Django would read the body first, and write a large one to the disk in the clear.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from starlette.types import Scope

from registry.core.errors import BadRequest, Forbidden, Unauthorized
from serving.accounts.models import User


def person(scope: Scope, *, changes: bool = False) -> User | None:
    """The person whose session the request has; None without one. Asks the database: call it in a thread.

    Args:
        changes: whether the request changes something, and so must come from one of our pages (CSRF).

    Raises:
        Forbidden: it comes from another site's page.
        BadRequest: a host that is not ours.
    """
    request = ASGIRequest({**scope, "root_path": ""}, BytesIO(b""))
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    try:
        if changes:
            csrf = CsrfViewMiddleware(_nothing)
            csrf.process_request(request)
            if csrf.process_view(request, _nothing, (), {}) is not None:
                raise Forbidden(
                    "the request does not come from a page of ours, or the page is too old",
                    expected="the header X-CSRFToken, as our pages send it",
                    fix="reload the page, and try again",
                )
    except (DisallowedHost, RequestDataTooBig) as error:
        raise BadRequest("the request has a wrong Host header", expected="this site's own name") from error
    user: Any = request.user
    return user if user.is_authenticated and user.is_active else None


def required(scope: Scope, *, changes: bool = False) -> User:
    """As `person`. Raises Unauthorized where there is none."""
    user = person(scope, changes=changes)
    if user is None:
        raise Unauthorized("you are not logged in", expected="an account", fix="log in, and try again")
    return user


def _nothing(request: object) -> HttpResponse:
    return HttpResponse()
