"""The list of models and versions, with what the gate decided of each."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy

from serving.accounts.models import Role
from serving.lists.listing import Column, Filter, Listing, Made, of_states
from serving.operations import model_facts
from serving.operations.model_facts import ModelVersion
from serving.translation import specs, states

_ROLES = ("live", "canary", "shadow", "a", "b", "warm")


def _rows() -> Made[ModelVersion]:
    return Made(model_facts.all_versions())


def _registered(row: ModelVersion) -> Any:
    if row.away:
        return gettext("MLflow does not answer")
    return row.version.registered.made.strftime("%Y-%m-%d %H:%M") if row.version.registered else ""


def _decided(row: ModelVersion) -> str:
    decision = row.version.decision
    return "not asked" if decision is None or decision.good is None else "granted" if decision.good else "refused"


def _page(row: ModelVersion) -> str:
    decision = row.version.decision
    return reverse("office_document", args=["decisions", decision.path]) if decision else ""


def _search(rows: Any, text: str) -> Any:
    return Made(
        row
        for row in rows
        if text.lower() in f"{row.model} {specs.title(row.model)}".lower()
        or (row.version.registered is not None and row.version.registered.digest.startswith(text.lower()))
    )


VERSIONS = Listing(
    "versions",
    gettext_lazy("Models and versions"),
    Role.VIEWER,
    _rows,
    (
        Column(
            "model",
            gettext_lazy("Model"),
            lambda row: specs.title(row.model),
            link=lambda row: reverse("office_model", args=[row.model]),
        ),
        Column("version", gettext_lazy("Version"), lambda row: row.version.number, "number"),
        Column("role", gettext_lazy("Role"), lambda row: row.version.role, "state"),
        Column(
            "aliases",
            gettext_lazy("In the registry"),
            lambda row: ", ".join(states.translated(one) for one in getattr(row.version.registered, "aliases", ())),
        ),
        Column("decision", gettext_lazy("Decision"), _decided, "badge", link=_page),
        Column("why", gettext_lazy("Why"), lambda row: row.version.decision.text if row.version.decision else ""),
        Column("registered", gettext_lazy("Registered"), _registered),
        Column("digest", gettext_lazy("Bundle"), lambda row: getattr(row.version.registered, "digest", ""), "code"),
        Column("released_anyway", gettext_lazy("Released without a grant"), lambda row: row.version.anyway),
    ),
    search=_search,
    search_hint=gettext_lazy("model, or digest of a bundle"),
    filters=(
        Filter(
            "model",
            gettext_lazy("Model"),
            lambda: [(spec.name, spec.title) for spec in specs.all_specs()],
            lambda rows, value: Made(row for row in rows if row.model == value),
        ),
        Filter(
            "role",
            gettext_lazy("Role"),
            of_states(*_ROLES),
            lambda rows, value: Made(row for row in rows if row.version.role == value),
        ),
        Filter(
            "decision",
            gettext_lazy("Decision"),
            of_states("granted", "refused", "not asked"),
            lambda rows, value: Made(row for row in rows if _decided(row) == value),
        ),
    ),
    label=lambda row: f"{row.model} {row.version.number}",
)
