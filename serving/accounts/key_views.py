"""The page of one's API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from serving.access import report
from serving.access.keys import ALL, ApiKey
from serving.accounts import keys
from serving.accounts.forms import KeyForm
from serving.accounts.models import User
from serving.accounts.views import person
from serving.translation import errors


@dataclass(frozen=True)
class Row:
    """A key as the page shows it. Times are UTC."""

    key: ApiKey
    state: str
    models: list[str]
    created: datetime
    expires: datetime | None
    requests: int
    errors: int

    @property
    def actions(self) -> list[str]:
        return sorted(self.key.actions)


def rows(user: User) -> list[Row]:
    """The person's keys with this month's requests, the valid ones first, then the newest."""
    now = datetime.now(UTC)
    found = []
    for one in keys.of(user):
        used = report.rows(now.date().replace(day=1), now.date(), one.id)
        found.append(
            Row(
                one,
                one.state(now.timestamp()),
                [] if ALL in one.models else sorted(one.models),
                datetime.fromtimestamp(one.created, UTC),
                datetime.fromtimestamp(one.expires, UTC) if one.expires is not None else None,
                sum(row.requests for row in used),
                sum(row.errors for row in used),
            )
        )
    return sorted(found, key=lambda row: (row.state != "active", -row.key.created))


@login_required
@never_cache
def key_list(request: HttpRequest) -> HttpResponseBase:
    """The keys, and a form for another. The answer to the form shows the new key, once."""
    user = person(request)
    form = KeyForm(user, request.POST or None)
    context = {"form": form, "router": settings().router_address}
    if request.method == "POST" and form.is_valid():
        try:
            made, token = keys.create(user, form.cleaned_data["name"], **form.wanted())
        except VisionloopError as error:
            form.add_error(None, errors.in_words(error))
        else:
            return render(request, "accounts/new_key.html", {**context, "made": made, "token": token}, status=201)
    status = 422 if form.errors else 200
    return render(request, "accounts/keys.html", {**context, "rows": rows(user)}, status=status)


@login_required
@require_POST
@never_cache
def rotate(request: HttpRequest, key: str) -> HttpResponseBase:
    """Gives a key a new secret, which the answer shows, once."""
    try:
        made, token = keys.rotate(person(request), key)
    except NotFound:
        messages.error(request, gettext("You have no such key."))
    except VisionloopError as error:
        messages.error(request, errors.in_words(error))
    else:
        until = datetime.fromtimestamp(made.old_until, UTC) if made.old_until is not None else None
        context = {"made": made, "token": token, "until": until, "router": settings().router_address}
        return render(request, "accounts/new_key.html", context, status=201)
    return redirect("account_keys")


@login_required
@require_POST
def revoke(request: HttpRequest, key: str) -> HttpResponseBase:
    try:
        name = keys.revoke(person(request), key).name
    except NotFound:
        messages.error(request, gettext("You have no such key."))
    else:
        messages.success(request, gettext("The key “%(name)s” is revoked.") % {"name": name})
    return redirect("account_keys")
