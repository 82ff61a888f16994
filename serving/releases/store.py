"""The release plans in the database, and the routes that follow from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.core.errors import BadInput, NotFound, Refused, first_line
from serving.releases import plans as release_plans
from serving.releases.endpoints import Endpoint, announced
from serving.releases.history import events, person
from serving.releases.plans import NEVER, Limits, Plan

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.releases.models import Release as Row

logger = logging.getLogger("visionloop.releases")


@dataclass(frozen=True)
class Route:
    """A plan and the services of its versions.

    Attributes:
        second: None also where its service is not there.
        previous: None where the previous version is not kept warm.
    """

    plan: Plan
    live: Endpoint
    second: Endpoint | None = None
    previous: Endpoint | None = None

    def __str__(self) -> str:
        plan = self.plan
        services = ", ".join(
            f"version {one.version} at {one.url}" for one in (self.live, self.second, self.previous) if one
        )
        return f"{plan.kind} {plan.share} % (revision {plan.revision}), {services}"

    def of(self, version: int) -> Endpoint | None:
        """The service of the live or the second version."""
        return next((e for e in (self.live, self.second) if e and e.version == version), None)


ONE_VERSION: dict[str, Any] = {
    "kind": "all",
    "second": None,
    "share": 0,
    "sticky": "request",
    "steps": [],
    "limits": {},
    "state": "running",
}
"""The fields of a plan without a second version."""


def switch(model: str, version: int, who: str = "", why: str = "", *, revision: int | None = None) -> Plan:
    """Gives all traffic of `model` to `version`. Routers follow within half a second.

    Raises:
        NotFound, Refused: as `change`.
    """
    with _locked(model, revision) as row:
        previous = row.previous if row.live == version else row.live or None
        fields = {**ONE_VERSION, "live": version, "previous": previous}
        return _write(row, fields, what="release", who=who, why=why)


def change(
    model: str,
    what: str,
    who: str = "",
    why: str = "",
    *,
    revision: int | None = None,
    page: str = "",
    decision: Mapping[str, Any] | None = None,
    todo: Mapping[str, Any] | None = None,
    renewed: bool = True,
    **fields: Any,
) -> Plan:
    """Changes the release plan of a model and adds the change to the history, in one transaction.

    Args:
        what: one word for the history, e.g. `canary`.
        who: default: the person at the command line.
        revision: of the plan that the change is meant for, 0 where there is none; None changes any revision.
        page: a decision page, relative to var.
        decision: what the page says, as JSON.
        todo: what is to be written into the registry afterwards, see `serving.releases.history.unfinished`.
        renewed: whether a new step begins, whose calls are counted from zero.
        fields: of `Plan`, as JSON has them.

    Raises:
        NotFound: no service is announced of a version that is to get traffic.
        Refused: somebody else changed the plan meanwhile.
    """
    with _locked(model, revision) as row:
        return _write(row, fields, renewed, what=what, who=who, why=why, page=page, decision=decision, todo=todo)


@contextmanager
def _locked(model: str, revision: int | None) -> Iterator[Row]:
    """The plan's row, new or not, in a transaction that keeps others from it; a new row's `live` is 0."""
    database.setup()
    from django.db import transaction

    from serving.releases.models import Release, ReleaseEvent

    with transaction.atomic():
        # Larger than every revision before a withdrawal, because traffic was counted under those.
        passed = ReleaseEvent.objects.filter(model=model).count()
        first = {"live": 0, "revision": passed, "changed": datetime.now(UTC)}
        row, new = Release.objects.select_for_update().get_or_create(model=model, defaults=first)
        if revision is not None and revision != (0 if new else row.revision):
            raise _changed_meanwhile(model, revision)
        yield row


def _write(row: Row, fields: Mapping[str, Any], renewed: bool = True, *, who: str, why: str, **event: Any) -> Plan:
    """Writes the changed fields of a plan, and an event with them."""
    from serving.releases.models import ReleaseEvent

    for name, value in fields.items():
        row._meta.get_field(name)  # raises where there is none: a wrong name would change nothing, silently
        setattr(row, name, value)
    services = announced(row.model)
    for version in filter(None, (row.live, row.second)):
        if (row.model, version) not in services:
            raise NotFound(
                f"no service of {row.model} version {version} is announced",
                expected="a service that is running and passed its golden samples",
                fix=f"`visionloop release {row.model} {version}` starts one",
            )
    row.changed, row.why = datetime.now(UTC), why
    if renewed:
        row.revision, row.since = row.revision + 1, row.changed
    row.save()
    ReleaseEvent.objects.create(
        time=row.changed,
        model=row.model,
        who=(who or person())[:128],
        why=why,
        live=row.live,
        second=row.second,
        share=row.share,
        **event,
    )
    return _plan(row)


def _changed_meanwhile(model: str, revision: int) -> Refused:
    last = next(iter(events(model, 1)), None)
    how = f": {last.what} by {last.who}" + (f" ({last.why})" if last.why else "") if last else ""
    return Refused(
        f"the release plan of {model} was changed meanwhile{how}",
        expected=f"revision {revision}" if revision else "no plan yet",
        fix=f"look at it with `visionloop release {model} status`, then decide again",
    )


def plan(model: str) -> Plan | None:
    """The release plan of a model, if it has one. Raises BadInput where this code cannot read it."""
    row = _rows().filter(model=model).first()
    return _plan(row) if row else None


def revision(model: str) -> int:
    """The revision of a model's plan, also of one that cannot be read; 0 where there is none."""
    return _rows().filter(model=model).values_list("revision", flat=True).first() or 0


def plans() -> list[Plan]:
    """All release plans, by model.

    A row that this code cannot read, as after a downgrade, is left out and logged once, so that the other models go on.
    """
    found = []
    for row in _rows().order_by("model"):
        try:
            found.append(_plan(row))
        except (BadInput, TypeError, ValueError, AttributeError) as error:
            _warn_once(row, error)
    return found


_unreadable: set[tuple[str, int]] = set()
"""Model and revision of the rows that the log has named."""


def _warn_once(row: Row, error: Exception) -> None:
    key = (row.model, row.revision)
    if key not in _unreadable:
        _unreadable.add(key)
        logger.warning(
            "the release plan of %s cannot be read and is left out: %s; `visionloop release %s VERSION` writes it anew",
            row.model, first_line(error), row.model,
        )  # fmt: skip


def note_guardrails(plan: Plan, guardrails: Sequence[Mapping[str, Any]]) -> None:
    """Keeps how the guardrails of a plan stand, for `visionloop release MODEL status`. The plan stays as it is."""
    kept = {"revision": plan.revision, "rails": list(guardrails)}
    _rows().filter(model=plan.model, revision=plan.revision).update(guardrails=kept)


def guardrails(plan: Plan) -> list[dict[str, Any]]:
    """How the guardrails of a plan stand: fields of `registry.versions.decision.Reason`; [] before a guard looked."""
    kept = _rows().filter(model=plan.model).values_list("guardrails", flat=True).first()
    return list(kept["rails"]) if kept and kept["revision"] == plan.revision else []


def routes(of: Sequence[Plan] | None = None) -> dict[str, Route]:
    """Where the requests of each model go; a model whose live version has no service is left out.

    Args:
        of: the plans; None reads them.
    """
    found: dict[str, Route] = {}
    services = announced()
    for one in plans() if of is None else of:
        live = services.get((one.model, one.live))
        if live is not None:
            second, previous = (services.get((one.model, version or 0)) for version in (one.second, one.previous))
            found[one.model] = Route(one, live, second, previous)
    return found


def in_words(plan: Plan) -> str:
    """A plan in one sentence, as it is now."""
    return release_plans.in_words(plan, (plan.model, plan.previous) in announced(plan.model))


def live(model: str) -> Endpoint | None:
    """The live version's service, if there is one."""
    route = routes().get(model)
    return route.live if route is not None else None


def _rows() -> QuerySet[Row]:
    database.setup()
    from serving.releases.models import Release

    return Release.objects.all()


def _plan(row: Row) -> Plan:
    return Plan(
        model=row.model,
        kind="all" if row.kind == "blue_green" else row.kind,  # earlier versions wrote both
        live=row.live,
        second=row.second,
        previous=row.previous,
        share=row.share,
        sticky=row.sticky,
        steps=tuple(row.steps),
        limits=Limits.of(row.limits),
        state=row.state,
        since=row.since or NEVER,
        why=row.why,
        revision=row.revision,
    )
