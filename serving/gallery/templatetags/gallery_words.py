"""Filters of the gallery's templates: numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django import template
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.translation import gettext

from serving.translation import errors, specs

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
def moment(time: datetime | None) -> str:
    """A time in UTC, which `times.js` puts on the reader's own clock."""
    if time is None:
        return ""
    shown = f"{date_format(time, 'DATETIME_FORMAT')} UTC"
    return format_html('<time datetime="{}" data-local>{}</time>', time.isoformat(), shown)


@register.filter
def error_part(text: str) -> str:
    """A part of an error as a sentence, in the reader's language, or marked as English."""
    shown = errors.sentence(errors.translated(text))
    return shown if errors.is_known(text) else format_html('<span lang="en">{}</span>', shown)


@register.filter
def class_name(name: str) -> str:
    """A class's name for people."""
    return specs.class_name(name)


@register.filter
def class_names(names: Sequence[str]) -> list[str]:
    return [specs.class_name(name) for name in names]


@register.filter
def percentage(share: float) -> str:
    """0.873 -> 87.3 %"""
    return f"{number_format(100 * share, 1)}\u00a0%"


@register.filter
def looked_up(key: str, table: Mapping[str, object]) -> object:
    return table.get(key)


@register.filter
def model_title(name: str) -> str:
    return specs.title(name)
