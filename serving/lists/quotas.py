"""Quotas in lists: what is in force, how much of it is used, and the fields that set it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Sum
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy

from registry.core.settings import settings
from serving.access.models import Usage


def _field(label: Any) -> forms.Field:
    hint = gettext_lazy("0: no limit; empty: as the setting says.")
    return forms.IntegerField(label=label, min_value=0, max_value=10**12, required=False, help_text=hint)


QUOTA_FIELDS: Mapping[str, Callable[[], forms.Field]] = {
    "per_minute": lambda: _field(gettext_lazy("Requests per minute")),
    "per_month": lambda: _field(gettext_lazy("Requests per month")),
}
"""For the form of an action that sets quotas."""


def quotas_in_words(per_minute: int | None, per_month: int | None) -> dict[str, str]:
    """The limits in force by the names of `QUOTA_FIELDS`; those of the settings are marked as such."""
    limits = settings()
    return {
        "per_minute": _in_words(per_minute, limits.quota_per_minute),
        "per_month": _in_words(per_month, limits.quota_per_month),
    }


def _in_words(own: int | None, default: int) -> str:
    limit = default if own is None else own
    text = number_format(limit, force_grouping=True) if limit else gettext("no limit")
    return text if own is not None else gettext("%(limit)s (setting)") % {"limit": text}


def used_this_month(keys: Sequence[str]) -> dict[str, int]:
    """Requests of keys in this calendar month (UTC), by the key's id. Those without any are not there."""
    rows = Usage.objects.filter(day__gte=timezone.now().date().replace(day=1), key__in=keys)
    return dict(rows.order_by().values("key").annotate(total=Sum("requests")).values_list("key", "total"))
