"""Who may look at a page of the back office."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.cache import never_cache

from serving.accounts.models import Role, User

View = Callable[..., HttpResponseBase]


def least(role: Role) -> Callable[[View], View]:
    """A view for people who may what `role` may. Others are asked to log in, or get 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **more: Any) -> HttpResponseBase:
            user = request.user
            if not isinstance(user, User):
                if "HX-Request" in request.headers:  # a part of a page, whose person was logged out meanwhile
                    return HttpResponse(headers={"HX-Refresh": "true"})
                return redirect_to_login(request.get_full_path())
            if not user.has_role(role):
                raise PermissionDenied
            return view(request, *args, **more)

        checked.least_role = role  # type: ignore[attr-defined]
        return never_cache(checked)

    return decorate


def person(request: HttpRequest) -> User:
    """Who is logged in. For views behind `least`."""
    assert isinstance(request.user, User)
    return request.user
