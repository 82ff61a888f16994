"""One's own key for a model, made on the page of the model and shown there once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from serving.access.keys import ApiKey
from serving.accounts import keys
from serving.accounts.models import User
from serving.gallery import cards
from serving.translation import errors

VALID = timedelta(days=90)


@never_cache
@login_required
@require_POST
def make(request: HttpRequest, name: str) -> HttpResponse:
    """Makes a key that may ask this model. The answer, a piece of the page, shows it: nobody can have it again."""
    user: Any = request.user
    try:
        card = cards.one(name)
    except NotFound as error:
        raise Http404(error.found) from error
    context: dict[str, Any] = {"card": card, "router": settings().router_address}
    title = gettext("page of %(model)s") % {"model": card.spec.title}
    try:
        made, token = keys.create(user, title[:64], models=(card.spec.name,), expires=datetime.now(UTC) + VALID)
    except VisionloopError as error:
        context["problem"] = errors.in_words(error)
    else:
        context |= {"made": made, "token": token}
    return render(request, "gallery/api.html", {**context, "own_keys": usable(user, name)})


def usable(user: Any, model: str) -> list[ApiKey]:
    """The person's valid keys that may ask the model, the newest first."""
    if not isinstance(user, User):
        return []
    now = datetime.now(UTC).timestamp()
    found = [one for one in keys.of(user) if one.state(now) == "active" and one.reaches(model) and one.may("predict")]
    return sorted(found, key=lambda one: one.created, reverse=True)
