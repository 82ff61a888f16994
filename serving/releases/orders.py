"""Orders: changes of a release plan that need a service started first. The guard carries them out
(`serving.guard.controller`).

A command places an order and waits until it is done. When it stops waiting, the order is withdrawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.core.errors import MissingService, Refused, VisionloopError, error_from_json
from serving.releases import history, store
from serving.releases.packaging import Version
from serving.releases.plans import Plan

if TYPE_CHECKING:
    from serving.releases.models import ReleaseOrder

OPEN = ("waiting", "starting")
TAKEN_UP_S = 60.0
"""The guard looks four times a second; on a busy machine its process may take a while to start."""
CARRIED_OUT_S = 240.0
"""A service has 90 s to start, after another of its name has had 35 s to end."""
EVERY_S = 0.1

Say = Callable[[str], None]


def ignore(line: str) -> None:
    """A `Say` that drops its lines."""


def place(
    version: Version,
    tag: str,
    what: str = "release",
    *,
    revision: int,
    fields: Mapping[str, Any] | None = None,
    who: str = "",
    why: str = "",
    anyway: str = "",
) -> ReleaseOrder:
    """Asks the guard to start the service of `version` and then to change the plan.

    Args:
        what: one word for the history.
        revision: of the plan that the change is meant for; 0 where there is none.
        fields: for `store.change`; None gives all traffic to `version`.
        anyway: the reason, where the gate did not grant this version.

    Raises:
        Refused: another order of this model is open.
    """
    database.setup()
    from django.db import transaction

    from serving.releases.models import Release, ReleaseOrder

    now = datetime.now(UTC)
    with transaction.atomic():
        list(Release.objects.select_for_update().filter(model=version.model))  # two commands take turns
        _check_none_open(version.model)
        return ReleaseOrder.objects.create(
            time=now,
            deadline=now + timedelta(seconds=CARRIED_OUT_S),
            model=version.model,
            what=what,
            version=version.number,
            tag=tag,
            fields=dict(fields or {}),
            revision=revision,
            who=(who or history.person())[:128],
            why=why,
            anyway=anyway,
        )


def _check_none_open(model: str) -> None:
    order = open_order(model)
    if order is not None:
        raise Refused(
            f"a release of {model} is under way: {order.what} of version {order.version} by {order.who} since "
            f"{order.time:%H:%M:%S} UTC",
            expected="one change at a time",
            fix=f"wait until it is done; `visionloop release {model} status` shows it",
        )


def wait(order: ReleaseOrder, say: Say = ignore) -> Plan:
    """Waits until the guard has carried an order out; returns the plan. Withdraws the order when it gives up.

    Args:
        say: gets a line whenever there is something new.

    Raises:
        MissingService: no guard took it up, it took too long, or the service did not come up.
        Refused: somebody else changed the plan meanwhile.
    """
    began, last_line = time.monotonic(), ""
    try:
        while True:
            with _patient():
                order.refresh_from_db()
            if order.state == "done":
                return _plan_after(order)
            if order.state == "failed":
                raise error_from_json(order.error)
            waiting = order.state == "waiting"
            line = "waiting for the guard" if waiting else f"the guard starts version {order.version}"
            if line != last_line:
                say(line)
                last_line = line
            _check_time(order, time.monotonic() - began)
            time.sleep(EVERY_S)
    except BaseException as error:
        with suppress(Exception):  # the caller gets the first error
            if order.state in OPEN and not fail(order, error):
                order.refresh_from_db()
                if order.state == "done":  # in this very moment
                    return _plan_after(order)
        raise


def _check_time(order: ReleaseOrder, waited_s: float) -> None:
    if order.state == "waiting" and waited_s > TAKEN_UP_S:
        raise MissingService(
            f"no guard has begun the release of version {order.version} of {order.model} within {TAKEN_UP_S:g} s; "
            "it is withdrawn, nothing was changed",
            expected="a running guard, which starts and stops the services",
            fix="`visionloop status` says whether it runs, `visionloop logs guard` why not",
        )
    if waited_s > CARRIED_OUT_S:
        raise MissingService(
            f"version {order.version} of {order.model} was not released within {CARRIED_OUT_S:g} s; it is withdrawn, "
            "nothing was changed",
            expected="a service that is ready",
            fix="`visionloop logs guard` says what it waits for",
        )


def _plan_after(order: ReleaseOrder) -> Plan:
    found = store.plan(order.model)
    assert found is not None, "it was changed a moment ago"
    return found


@contextmanager
def _patient() -> Iterator[None]:
    """Ignores a database that is away for a moment: the caller's loop asks again."""
    try:
        yield
    except Exception as error:
        if not database.is_away(error):
            raise
        with suppress(Exception):
            database.renew_connection()


def open_order(model: str) -> ReleaseOrder | None:
    """The open order of a model."""
    return next((one for one in open_orders() if one.model == model), None)


def open_orders() -> list[ReleaseOrder]:
    """All open orders, the oldest first."""
    database.setup()
    from serving.releases.models import ReleaseOrder

    return list(ReleaseOrder.objects.filter(state__in=OPEN, deadline__gt=datetime.now(UTC)).order_by("id"))


def take_up(order: ReleaseOrder) -> None:
    """Notes that the order's service is being started."""
    type(order).objects.filter(id=order.id, state="waiting").update(state="starting")


def fail(order: ReleaseOrder, error: BaseException) -> bool:
    """Ends an order that could not be carried out. Returns False where it is over already."""
    fields = error.to_json() if isinstance(error, VisionloopError) else {"found": str(error) or type(error).__name__}
    ended = type(order).objects.filter(id=order.id, state__in=OPEN).update(state="failed", error=fields)
    return bool(ended)


def carry_out(order: ReleaseOrder) -> Plan | None:
    """Changes the plan and closes the order, in one transaction. Returns None for an order that was withdrawn.

    Raises:
        Refused: the plan was changed by somebody else meanwhile.
        NotFound: a service that the plan needs is not announced.
    """
    from django.db import transaction

    from serving.releases.models import Endpoint

    with transaction.atomic():
        row = type(order).objects.select_for_update().get(id=order.id)
        if row.state not in OPEN:
            return None
        why = f"{row.why}; anyway: {row.anyway}".removeprefix("; ") if row.anyway else row.why
        if row.fields:
            left = row.fields.get("previous") if row.what == "rollback" else None
            todo = {"left": left} if left else None
            plan = store.change(row.model, row.what, row.who, why, revision=row.revision, todo=todo, **row.fields)
        else:
            plan = store.switch(row.model, row.version, row.who, why, revision=row.revision)
        row.state, row.outcome = "done", plan.revision
        row.save()
        Endpoint.objects.filter(model=row.model, version=row.version).update(anyway=row.anyway)
    return plan


def retire_unwanted(model: str, revision: int, over: int | None = None) -> list[int]:
    """Retires the services that neither the plan nor an open order wants, in one transaction.

    Args:
        revision: of the plan as the caller saw it, 0 where there was none. Of another revision nothing is retired.
        over: the previous version, where it is not to be kept warm any longer.

    Returns:
        The versions whose services are retired now.
    """
    database.setup()
    from django.db import transaction

    from serving.releases.models import Endpoint, Release

    with transaction.atomic():
        row = Release.objects.select_for_update().filter(model=model).first()
        if (row.revision if row else 0) != revision:
            return []
        wanted: set[int | None] = {order.version for order in open_orders() if order.model == model}
        if row is not None:
            wanted |= {row.live, row.second}
            if row.previous != over:
                wanted.add(row.previous)
        rows = Endpoint.objects.filter(model=model, retired=None)
        gone = [one.version for one in rows if one.version not in wanted]
        rows.filter(version__in=gone).update(retired=datetime.now(UTC))
    return gone
