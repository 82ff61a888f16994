"""The guard: watches release plans with two versions, rolls bad ones back and takes good ones a step further.

It reads what all routers counted. It is one process of its own, because its tests would delay the requests in a router
(docs/decisions/0020-the-guard-is-a-process.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registry.core import database, journal
from registry.core.errors import Refused, VisionloopError, first_line
from registry.core.settings import settings
from registry.versions.decision import Reason
from serving.guard.ab_test import AbTest
from serving.guard.controller import Controller, Starter
from serving.guard.guardrails import Guardrails
from serving.guard.pages import ReleaseDecision, page_of
from serving.releases import deploy, grants, history, store
from serving.releases.plans import Plan
from serving.router import traffic

if TYPE_CHECKING:
    from serving.releases.models import ReleaseEvent

logger = logging.getLogger("visionloop.guard")

WHO = "the guard"
FORGET_EVERY_S = 3600.0

RegistryWriter = Callable[["ReleaseEvent"], None]
"""Writes a change into the registry. It is called again until it has called `serving.releases.history.finished`, and
returns soon."""


def _no_registry(event: ReleaseEvent) -> None:
    """A `RegistryWriter` that writes nothing."""
    history.finished(event.id)


class Guard:
    """Call `look` every second or so. What it remembers only saves work, so a restart loses nothing."""

    def __init__(
        self, starter: Starter, router: str | None = None, write_registry: RegistryWriter = _no_registry
    ) -> None:
        self.controller, self._write_registry = Controller(starter, router), write_registry
        self._guardrails: dict[tuple[str, int], Guardrails] = {}
        self._comparison = AbTest()
        self._noted: dict[str, list[dict[str, Any]]] = {}
        self._unwritten: set[int] = set()
        self._refused: dict[str, tuple[int, str]] = {}
        self._forgot = time.monotonic()
        self._away = False

    def look(self) -> None:
        """Looks after the services, then at every plan once.

        An error in one plan is logged and stops no other one. While the database is away nothing changes.
        """
        if not self.look_after_services():
            return
        try:
            plans = store.plans()
        except Exception as error:  # its driver's own kind
            self._lost(error)
            return
        if self._away:
            logger.warning("the database is back")
        self._away = False
        self._finish_quietly()
        for plan in plans:
            try:
                if plan.second is not None:
                    self._look_at(plan)
            except Refused as error:  # somebody changed the plan meanwhile, or the gate did not grant the version
                if self._refused.get(plan.model) != (plan.revision, error.found):
                    logger.warning("%s: %s", plan.model, error.found)
                self._refused[plan.model] = (plan.revision, error.found)
            except VisionloopError as error:
                logger.warning("%s: %s", plan.model, "; ".join(str(error).splitlines()))
            except Exception as error:
                if database.is_away(error):  # since the plans were read; the next look begins anew
                    self._lost(error)
                    return
                logger.exception("the guard failed on %s", plan.model)
        if time.monotonic() - self._forgot > FORGET_EVERY_S:
            self._forgot = time.monotonic()
            with suppress(Exception):  # it is tried again in an hour
                traffic.forget_old()

    def look_after_services(self) -> bool:
        """Starts and stops services as plans and orders need them. Returns False while the database is away."""
        try:
            database.renew_connection()
            self.controller.look()
        except Exception as error:
            if not database.is_away(error):
                logger.exception("the guard failed on the services")
                return True
            self._lost(error)
            return False
        return True

    def _finish_quietly(self) -> None:
        try:
            self._finish()
        except Exception as error:
            if not database.is_away(error):
                logger.exception("the pages and registry entries of changes could not be written")

    def _lost(self, error: Exception) -> None:
        if not self._away:
            why = first_line(error)
            logger.warning("the database is away, the plans stay as they are: %s", why)
        self._away = True
        self._guardrails.clear()  # nobody asked the versions meanwhile, so they were not silent

    def _look_at(self, plan: Plan) -> None:
        key = (plan.model, plan.revision)
        if key not in self._guardrails:
            self._guardrails = {known: one for known, one in self._guardrails.items() if known[0] != plan.model}
            self._guardrails[key] = Guardrails(plan)
            self._noted.pop(plan.model, None)
        reasons = self._guardrails[key].look()
        self._note(plan, reasons)
        if not all(reason.passed for reason in reasons):
            self._breach(plan, reasons)
        elif plan.kind == "canary" and self._step_is_over(plan, self._guardrails[key].calls):
            self._advance(plan, reasons)
        elif plan.kind == "ab" and plan.state == "running":
            verdict = self._comparison.look(plan)
            if verdict is not None:
                self._decide(plan, verdict)

    def _note(self, plan: Plan, reasons: list[Reason]) -> None:
        """Keeps how the guardrails stand, for `visionloop release MODEL status`."""
        guardrails = [asdict(reason) for reason in reasons]
        if self._noted.get(plan.model) != guardrails:
            store.note_guardrails(plan, guardrails)
            self._noted[plan.model] = guardrails

    def _step_is_over(self, plan: Plan, calls: int) -> bool:
        spent = (datetime.now(UTC) - plan.since).total_seconds()
        enough = calls >= plan.limits.min_calls and spent >= plan.limits.min_seconds
        return plan.next_step is not None and enough

    def _advance(self, plan: Plan, reasons: list[Reason]) -> None:
        step = plan.next_step or 100
        why = f"no guardrail broke at {plan.share} %"
        if step < 100:
            store.change(plan.model, "step", WHO, why, revision=plan.revision, share=step)
            self._tell(plan, f"version {plan.second} gets {step} % of the requests: {why}")
            return
        grants.check_second(plan, "")
        if not deploy.second_is_ready(plan):
            return  # it is being restarted, or the guardrail "answers" breaks soon
        summary = f"{plan.model} version {plan.second} took over from version {plan.live}: {why}"
        page = self._page(plan, reasons, True, "took over", summary)
        self._change(deploy.promote, plan, why, summary, page)

    def _breach(self, plan: Plan, reasons: list[Reason]) -> None:
        broken = [reason for reason in reasons if not reason.passed]
        at = f" at {plan.share} %" if plan.share else ""
        names = ", ".join(reason.rule for reason in broken)
        summary = f"{plan.model} version {plan.second} rolled back ({plan.kind}{at}): {names}"
        page = self._page(plan, reasons, False, "rolled back", summary)
        why = "; ".join(map(str, broken))
        logger.warning("%s version %d: %s", plan.model, plan.second, why)
        self._change(deploy.roll_back, plan, why, summary, page, alarm=True)

    def _page(
        self, plan: Plan, reasons: list[Reason], granted: bool, verdict: str, summary: str
    ) -> ReleaseDecision | None:
        """The decision page to write; None where there is an error, because the change is made all the same."""
        try:
            return page_of(plan, reasons, granted=granted, verdict=verdict, summary=summary, who=WHO)
        except Exception as error:
            if database.is_away(error):
                raise
            logger.exception("no decision page about %s", plan.model)
            return None

    def _change(
        self,
        change: Callable[..., Plan],
        plan: Plan,
        why: str,
        text: str,
        page: ReleaseDecision | None,
        alarm: bool = False,
    ) -> None:
        """Changes the plan, then writes the page, which so tells what happened. The change keeps the page's content, so
        that the page is written even where this process ends in between."""
        fields = {"page": page.place, "decision": page.to_json()} if page is not None else {}
        change(plan.model, who=WHO, why=why, revision=plan.revision, **fields)
        self._finish()
        self._tell(plan, text, page.place if page is not None else "", alarm)

    def _decide(self, plan: Plan, reasons: list[Reason]) -> None:
        """Notes the result. Both versions go on: a person decides between promote and rollback."""
        test = reasons[0]
        summary = f"{plan.model} version {plan.second} against version {plan.live}: {test.found}"
        word = "b is better" if test.passed else "b is not better"
        page = self._page(plan, reasons, test.passed, word, summary)

        def note(model: str, **fields: Any) -> Plan:
            todo = {"attach": plan.second}
            return store.change(model, "verdict", renewed=False, state="decided", todo=todo, **fields)

        self._change(note, plan, test.found, summary, page)

    def _finish(self) -> None:
        """Writes the pages and registry entries that changes still need."""
        for event in history.unfinished():
            page = settings().var / event.page if event.page else None
            if page is not None and event.decision and not page.is_file():
                try:
                    ReleaseDecision.of_json(event.decision).save()
                except Exception as error:  # such as a full disk; the change stands
                    if event.id not in self._unwritten:
                        logger.warning("the decision page of %s cannot be written yet: %s", event.model, error)
                    self._unwritten.add(event.id)
                    continue
            self._write_registry(event)

    def _tell(self, plan: Plan, text: str, page: str = "", alarm: bool = False) -> None:
        logger.warning("%s", text)
        link = {"link": page, "label": "the decision page"} if page else {}
        journal.fact("release", text, plan.model, alarm=alarm, **link)
