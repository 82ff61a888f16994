"""The lists of what is asked: predictions, keys and usage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from monitoring.log.models import Prediction
from serving.access import keys
from serving.access.models import Key, Usage
from serving.accounts import audit, own_data
from serving.accounts.models import AccountKey, Role, User
from serving.lists.listing import Action, Column, Filter, Listing, of_states
from serving.lists.quotas import QUOTA_FIELDS, quotas_in_words, used_this_month
from serving.releases import endpoints
from serving.runs import files
from serving.runs.models import Run
from serving.translation import specs

_ROLES = ("live", "canary", "shadow", "a", "b", "pinned")


def _models() -> list[tuple[str, str]]:
    return [(spec.name, spec.title) for spec in specs.all_specs()]


def _versions() -> list[tuple[str, str]]:
    """Those that have, or had, a service: finding them among all predictions would take seconds."""
    numbers = sorted({number for _, number in endpoints.announced(retired=True)}, reverse=True)
    return [(str(number), str(number)) for number in numbers]


def _by_model(rows: Any, value: str) -> Any:
    return rows.filter(model=value)


MODEL = Filter("model", gettext_lazy("Model"), _models, _by_model)


def _owners(callers: Sequence[str]) -> dict[str, str]:
    """Caller as the log names it -> e-mail address of the account whose key it is."""
    found = AccountKey.objects.filter(key__in=[one.removeprefix("vl_") for one in callers]).select_related("user")
    return {f"vl_{one.key}": one.user.email for one in found}


def _prepare_predictions(rows: Sequence[Any]) -> None:
    owners = _owners([row.caller for row in rows])
    runs = dict(Run.objects.filter(prediction_id__in=[row.id for row in rows]).values_list("prediction_id", "id"))
    for row in rows:
        row.person = owners.get(row.caller, "")
        run = runs.get(row.id)
        there = run is not None and files.path(run, files.THUMBNAIL).is_file()
        row.picture = reverse("office_thumbnail", args=[run]) if there else ""


def _search_predictions(rows: Any, text: str) -> Any:
    if re.fullmatch("[0-9a-f]{32}", text.lower()):  # by its key at once: with the rest of it, a million rows are read
        return rows.filter(id=text.lower())
    of = [f"vl_{key}" for key in AccountKey.objects.filter(user__email__icontains=text).values_list("key", flat=True)]
    return rows.filter(Q(id__startswith=text.lower()) | Q(caller__startswith=text) | Q(caller__in=of[:500]))


PREDICTIONS = Listing(
    "predictions",
    gettext_lazy("Predictions"),
    Role.VIEWER,
    lambda: Prediction.objects.defer("embedding", "image_statistics", "prediction_statistics").order_by("-time"),
    (
        Column("picture", gettext_lazy("Picture"), lambda row: row.picture, "picture"),
        Column("time", gettext_lazy("When"), lambda row: row.time, "time"),
        Column("model", gettext_lazy("Model"), lambda row: row.model),
        Column("version", gettext_lazy("Version"), lambda row: row.version, "number"),
        Column("role", gettext_lazy("Role"), lambda row: row.role, "state"),
        Column("person", gettext_lazy("Who"), lambda row: row.person or row.caller),
        Column("latency_ms", gettext_lazy("Latency, ms"), lambda row: round(row.latency_ms, 1), "number"),
        Column("outcome", gettext_lazy("Outcome"), lambda row: row.outcome, "badge"),
        Column("id", gettext_lazy("Prediction"), lambda row: row.id, "code"),
    ),
    search=_search_predictions,
    search_hint=gettext_lazy("e-mail address, key, or id of a prediction"),
    filters=(
        MODEL,
        Filter("version", gettext_lazy("Version"), _versions, lambda rows, value: rows.filter(version=int(value))),
        Filter("role", gettext_lazy("Role"), of_states(*_ROLES), lambda r, v: r.filter(role=v)),
        Filter(
            "latency",
            gettext_lazy("Latency"),
            lambda: [(ms, gettext("over %(ms)s ms") % {"ms": ms}) for ms in ("100", "1000", "10000")],
            lambda rows, value: rows.filter(latency_ms__gt=float(value)),
        ),
        Filter(
            "outcome",
            gettext_lazy("Outcome"),
            lambda: [("ok", gettext_lazy("ok")), ("error", gettext_lazy("error"))],
            lambda rows, value: rows.filter(outcome="ok") if value == "ok" else rows.exclude(outcome="ok"),
        ),
    ),
    time="time",
    prepare=_prepare_predictions,
)


def _prepare_keys(rows: Sequence[Any]) -> None:
    owners, used = _owners([f"vl_{row.id}" for row in rows]), used_this_month([row.id for row in rows])
    for row in rows:
        row.person, row.used = owners.get(f"vl_{row.id}", row.owner), used.get(row.id, 0)
        row.limits = quotas_in_words(row.per_minute, row.per_month)


def _key_state(row: Any) -> str:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires <= timezone.now() else "active"


def _keys_of_state(rows: Any, value: str) -> Any:
    if value == "revoked":
        return rows.exclude(revoked=None)
    over = Q(expires__lte=timezone.now())
    return rows.filter(over, revoked=None) if value == "expired" else rows.filter(revoked=None).exclude(over)


def _revoke(row: Any, by: User, why: str, _: Any) -> None:
    keys.revoke(row.id)
    audit.note(by, "key.revoke", f"vl_{row.id}", why)


def _set_quota(row: Any, by: User, why: str, given: Any) -> None:
    quota = {name: given[name] for name in ("per_minute", "per_month")}
    keys.change(row.id, quota)
    audit.note(by, "key.change", f"vl_{row.id}", why, **quota)


def _name(row: Any) -> str:
    return gettext("of a deleted account") if row.name == own_data.NAMELESS else str(row.name)


KEYS = Listing(
    "keys",
    gettext_lazy("Keys and quotas"),
    Role.VIEWER,
    lambda: Key.objects.order_by("-created"),
    (
        Column("id", gettext_lazy("Key"), lambda row: f"vl_{row.id}", "code"),
        Column("name", gettext_lazy("Name"), _name, "words"),
        Column("owner", gettext_lazy("Whose"), lambda row: row.person),
        Column("state", gettext_lazy("State"), _key_state, "badge"),
        Column(
            "models",
            gettext_lazy("Models"),
            lambda row: gettext("all") if keys.ALL in row.model_names else ", ".join(row.model_names),
        ),
        Column("actions", gettext_lazy("May"), lambda row: ", ".join(row.actions)),
        Column("per_minute", gettext_lazy("Per minute"), lambda row: row.limits["per_minute"]),
        Column("per_month", gettext_lazy("Per month"), lambda row: row.limits["per_month"]),
        Column("used", gettext_lazy("This month"), lambda row: row.used, "number"),
        Column("created", gettext_lazy("Made"), lambda row: row.created, "time"),
        Column("expires", gettext_lazy("Expires"), lambda row: row.expires, "time"),
    ),
    search=lambda rows, text: rows.filter(
        Q(id__startswith=text.removeprefix("vl_")) | Q(name__icontains=text) | Q(owner__icontains=text)
    ),
    search_hint=gettext_lazy("id, name or owner"),
    filters=(Filter("state", gettext_lazy("State"), of_states("active", "expired", "revoked"), _keys_of_state),),
    actions=(
        Action("revoke", gettext_lazy("Revoke"), gettext_lazy("The keys end, for good."), _revoke),
        Action(
            "quota",
            gettext_lazy("Set quotas"),
            gettext_lazy("Routers follow within two seconds."),
            _set_quota,
            fields=QUOTA_FIELDS,
        ),
    ),
    prepare=_prepare_keys,
    label=lambda row: f"vl_{row.id}",
)


def _prepare_usage(rows: Sequence[Any]) -> None:
    owners = _owners([f"vl_{row.key}" for row in rows])
    named = {one.id: f"{one.name} ({one.owner})" for one in Key.objects.filter(id__in=[row.key for row in rows])}
    for row in rows:
        row.person = owners.get(f"vl_{row.key}") or named.get(row.key) or gettext("without a key")


USAGE = Listing(
    "usage",
    gettext_lazy("Usage"),
    Role.VIEWER,
    lambda: Usage.objects.order_by("-day", "model", "key"),
    (
        Column("day", gettext_lazy("Day"), lambda row: row.day.isoformat()),
        Column("key", gettext_lazy("Key"), lambda row: f"vl_{row.key}" if row.key else "", "code"),
        Column("person", gettext_lazy("Whose"), lambda row: row.person),
        Column("model", gettext_lazy("Model"), lambda row: row.model),
        Column("requests", gettext_lazy("Requests"), lambda row: row.requests, "number"),
        Column("errors", gettext_lazy("Errors"), lambda row: row.errors, "number"),
        Column("refused", gettext_lazy("Over quota"), lambda row: row.refused, "number"),
        Column("bytes_in", gettext_lazy("Bytes in"), lambda row: row.bytes_in, "number"),
        Column("bytes_out", gettext_lazy("Bytes out"), lambda row: row.bytes_out, "number"),
    ),
    search=lambda rows, text: rows.filter(key__startswith=text.removeprefix("vl_")),
    search_hint=gettext_lazy("id of a key"),
    filters=(MODEL,),
    time="day",
    day=True,
    prepare=_prepare_usage,
)
