"""Tags of the back office's pages: `{% load office %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext

from serving.accounts.models import Role, User
from serving.lists import every
from serving.translation import states

register = template.Library()


@register.inclusion_tag("office/menu.html", takes_context=True)
def office_menu(context: template.Context) -> dict[str, Any]:
    """The links of the back office that this person may follow."""
    request = context["request"]
    pages = (
        ("office", gettext("Overview")),
        ("office_models", gettext("Releases")),
        ("office_runs", gettext("Runs")),
        ("office_charts", gettext("Charts")),
        ("office_documents", gettext("Documents")),
    )
    places = [(reverse(name), text, Role.VIEWER) for name, text in pages]
    places += [(reverse("office_list", args=[one.name]), one.title, one.least) for one in every.ALL.values()]
    user = request.user
    shown = [
        {"url": url, "text": text} for url, text, least in places if isinstance(user, User) and user.has_role(least)
    ]
    here = max((one["url"] for one in shown if request.path.startswith(one["url"])), key=len, default="")
    return {"places": shown, "here": here}


@register.filter
def state(value: str) -> str:
    """A state, role or action in the reader's language."""
    return states.translated(str(value))


@register.filter
def gigabytes(size: float) -> str:
    """Bytes as GB, with one digit."""
    return number_format(size / 1e9, 1)
