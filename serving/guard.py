"""The guard: looks at release plans with two versions, ends the bad ones and takes the good ones a step further.

It sees what any number of routers wrote down, and runs once, in a process of its own: its tests must not take time from
the event loop that requests wait for (docs/decisions/0020-the-guard-is-a-process.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry import database, journal
from registry.decision import Reason
from registry.errors import Refused, VisionloopError
from registry.settings import settings
from serving import deploy, releases, traffic
from serving.comparison import Comparison
from serving.deploy import Late, Starter
from serving.plans import Plan
from serving.rails import Rails
from serving.release_pages import page_of

logger = logging.getLogger("visionloop.guard")

WHO = "the guard"
FORGET_EVERY_S = 3600.0

Told = Callable[[Plan, Plan, Path | None], None]
"""Called after a change with the plan before and after it, and the decision page."""


def _nothing(before: Plan, after: Plan, page: Path | None) -> None:
    pass


class Guard:
    """Call `look` every second or so. What it remembers between looks may be lost: it only saves repeated ones."""

    def __init__(self, starter: Starter, router: str | None = None, told: Told = _nothing) -> None:
        self._starter, self._router, self._told = starter, router, told
        self._rails: dict[tuple[str, int], Rails] = {}
        self._comparison = Comparison()
        self._forgot = time.monotonic()
        self._away = False

    def look(self) -> None:
        """Looks at every plan once. An error in one of them is logged and does not keep the others from it; while the
        database is away there is nothing to look at, and plans stay as they are."""
        try:
            database.renew()
            plans = releases.plans()
        except Exception as error:  # its driver's own kind
            self._lost(error)
            return
        if self._away:
            logger.warning("the database is back")
        self._away = False
        for plan in plans:
            try:
                if plan.two:
                    self._look_at(plan)
                else:
                    self._cool(plan)
            except Refused as error:
                logger.info("%s: %s", plan.model, error.found)  # somebody changed the plan meanwhile
            except VisionloopError as error:
                logger.warning("%s: %s", plan.model, "; ".join(str(error).splitlines()))
            except Exception as error:
                if database.is_away(error):  # since the plans were read; the next look begins anew
                    self._lost(error)
                    return
                logger.exception("the guard failed on %s", plan.model)
        if time.monotonic() - self._forgot > FORGET_EVERY_S:
            self._forgot = time.monotonic()
            with suppress(Exception):  # an hour later is early enough
                traffic.forget_old()

    def _lost(self, error: Exception) -> None:
        if not self._away:
            why = (str(error) or type(error).__name__).splitlines()[0]
            logger.warning("the database is away, the plans stay as they are: %s", why)
        self._away = True
        self._rails.clear()  # while nobody looked, nobody was silent

    def _look_at(self, plan: Plan) -> None:
        key = (plan.model, plan.revision)
        if key not in self._rails:
            self._rails = {known: one for known, one in self._rails.items() if known[0] != plan.model}
            self._rails[key] = Rails(plan)
        reasons = self._rails[key].look()
        if not all(reason.passed for reason in reasons):
            self._breach(plan, reasons)
        elif plan.kind == "canary" and self._step_is_over(plan):
            self._advance(plan, reasons)
        elif plan.kind == "ab" and plan.state == "running":
            verdict = self._comparison.look(plan)
            if verdict is not None:
                self._decide(plan, verdict)

    def _step_is_over(self, plan: Plan) -> bool:
        counts = traffic.read(plan.model, since=plan.since, revision=plan.revision)
        calls = counts.get((plan.challenger or 0, "canary"), traffic.Counts()).calls
        spent = (datetime.now(UTC) - plan.since).total_seconds()
        enough = calls >= plan.limits.min_calls and spent >= plan.limits.min_seconds
        return plan.next_step is not None and enough

    def _advance(self, plan: Plan, reasons: list[Reason]) -> None:
        step = plan.next_step or 100
        why = f"no guard rail broke at {plan.share} %"
        if step < 100:
            after = releases.change(plan.model, "step", WHO, why, revision=plan.revision, share=step)
            self._tell(plan, after, f"version {plan.challenger} gets {step} % of the requests: {why}", None)
            return
        if not deploy.second_answers(plan):
            return  # it is being restarted; or it is not, and the rail of answers breaks
        summary = f"{plan.model} version {plan.challenger} took over from version {plan.champion}: {why}"
        page = self._page(plan, reasons, True, "took over", summary)
        after = self._changed(deploy.promote, plan, why, page)
        self._tell(plan, after, summary, page)
        deploy.tidy(plan.model, self._starter, self._router)

    def _breach(self, plan: Plan, reasons: list[Reason]) -> None:
        broken = "; ".join(f"{r.rule}: {r.found}, expected {r.expected}" for r in reasons if not r.passed)
        at = f" at {plan.share} %" if plan.share else ""
        summary = f"{plan.model} version {plan.challenger} rolled back ({plan.kind}{at}): {broken}"
        page = self._page(plan, reasons, False, "rolled back", summary)
        after = self._changed(deploy.roll_back, plan, broken, page)
        self._tell(plan, after, summary, page, alarm=True)
        deploy.tidy(plan.model, self._starter, self._router)

    def _changed(self, change: Callable[..., Plan], plan: Plan, why: str, page: Path | None) -> Plan:
        """Promotes or rolls back; a router that is late to follow does not undo that."""
        said = {"who": WHO, "why": why, "revision": plan.revision, "page": _relative(page)}
        try:
            return change(plan.model, self._starter, self._router, clean=False, **said)
        except Late as late:
            logger.warning("%s: %s", plan.model, late.found)
            return late.plan

    def _decide(self, plan: Plan, reasons: list[Reason]) -> None:
        """Both go on answering: promote or rollback is a person's word."""
        test = reasons[0]
        won = test.passed
        summary = f"{plan.model} version {plan.challenger} against version {plan.champion}: {test.found}"
        page = self._page(plan, reasons, won, "b is better" if won else "b is not better", summary)
        after = releases.change(
            plan.model,
            "verdict",
            WHO,
            test.found,
            revision=plan.revision,
            page=_relative(page),
            renewed=False,
            state="decided",
        )
        self._tell(plan, after, summary, page)

    def _page(self, plan: Plan, reasons: list[Reason], granted: bool, verdict: str, summary: str) -> Path | None:
        """The decision page, before the change that it explains; the change is made without one, too."""
        try:
            return page_of(plan, reasons, granted=granted, verdict=verdict, summary=summary, who=WHO).save()
        except (VisionloopError, OSError) as error:
            logger.warning("no decision page: %s", error)
            return None

    def _tell(self, before: Plan, after: Plan, text: str, page: Path | None, alarm: bool = False) -> None:
        logger.warning("%s", text)
        link = {"link": _relative(page), "label": "the decision page"} if page else {}
        journal.fact("release", text, before.model, alarm=alarm, **link)
        self._told(before, after, page)

    def _cool(self, plan: Plan) -> None:
        """Ends the version that is kept warm when its time is over."""
        spent = datetime.now(UTC) - plan.since
        if plan.previous and spent > timedelta(seconds=settings().warm_s):
            deploy.tidy(plan.model, self._starter, self._router, warm=False)


def _relative(page: Path | None) -> str:
    return str(page.relative_to(settings().var)) if page else ""
