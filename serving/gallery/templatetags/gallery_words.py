"""Filters of the gallery's templates: numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext

from registry.contract import catalog

register = template.Library()


@register.filter
def duration_ms(value: float | None) -> str:
    """Milliseconds as a person says them: 34 ms, 1.2 s, 3 min."""
    if value is None:
        return ""
    if value < 1000:
        return gettext("%(count)s ms") % {"count": f"{value:.0f}"}
    if value < 60_000:
        return gettext("%(count)s s") % {"count": number_format(value / 1000, 1)}
    return gettext("%(count)s min") % {"count": number_format(value / 60_000, 1)}


@register.filter
def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


@register.filter
def looked_up(key: str, table: Mapping[str, object]) -> object:
    return table.get(key)


@register.filter
def model_title(name: str) -> str:
    return catalog.get(name).title if name in catalog.names() else name


@register.simple_tag
def url_or_nothing(name: str) -> str:
    """The address of a page; "" where there is no such page."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
