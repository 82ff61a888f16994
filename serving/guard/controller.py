"""Makes what runs equal to what is wanted: the one place where services of versions are started and stopped.

Wanted are the versions of the release plans, the version before while it is kept warm, and what an open order
(`serving.releases.orders`) needs. Commands change plans and place orders; the guard's process looks several times a
second, starts what is wanted and not there, and stops what is there and not wanted, after its last request. As it is
the only one, nobody stops what another has just started; as it looks again and again, whatever was interrupted is made
good.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from registry.core import database, journal
from registry.core.errors import MissingService, VisionloopError
from registry.core.settings import settings
from serving.releases import deploy, endpoints, orders, store
from serving.releases.endpoints import Endpoint
from serving.releases.packaging import process_name, serve_environment
from serving.releases.plans import Plan

if TYPE_CHECKING:
    from serving.releases.models import ReleaseOrder

logger = logging.getLogger("visionloop.guard")

DRAIN_S = 60.0
"""A request may hang: a service is stopped then, and has its own time to finish."""
AGAIN_S = (10.0, 30.0, 60.0, 300.0)
"""When a service that could not be started is tried again; an order is not, it fails."""


class Running(Protocol):
    """A process that runs."""

    @property
    def pid(self) -> int | None: ...
    @property
    def url(self) -> str: ...


class Starter(Protocol):
    """Starts and stops processes: the supervisor's client (`flows.stack.control.Stack`), or a test's own."""

    def services(self) -> Mapping[str, Running]:
        """The processes that it looks after by name: those that run, and those it is starting again."""

    def start(
        self, name: str, argv: list[str], env: Mapping[str, str], ready_url: str, restart: bool = True
    ) -> Running:
        """Starts a process and waits until `ready_url` answers 200. Raises MissingService with its last words."""

    def stop(self, name: str) -> None:
        """Ends a process; says nothing if it is gone already."""


class _Job:
    """A call that takes its time, in a thread of its own; the thread never touches the database."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self.result = work()
        except Exception as error:
            self.error = error

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()


@dataclass
class _Failure:
    count: int
    until: float
    error: Exception


class Controller:
    """Call `look` several times a second, from one thread of one process."""

    def __init__(self, starter: Starter, router: str | None = None) -> None:
        self._starter = starter
        self._router = settings().router_address if router is None else router
        self._starting: dict[str, _Job] = {}
        self._stopping: dict[str, _Job] = {}
        self._leaving: dict[str, float] = {}
        self._failures: dict[str, _Failure] = {}
        self._orders: set[int] = set()
        self._services: Mapping[str, Running] = {}
        self._known: dict[tuple[str, int], Endpoint] = {}
        self._blind = False

    @property
    def busy(self) -> bool:
        """Whether something is being started or stopped; it is worth looking again soon."""
        return bool(self._starting or self._stopping or self._leaving or self._orders)

    def look(self) -> None:
        """One look at every model. An error in one of them is logged and keeps none of the others from it.

        Raises what the database's driver raises while it is away.
        """
        try:
            self._services = self._starter.services()
        except MissingService as error:
            if not self._blind:
                logger.warning("no service can be started or stopped: %s", error.found)
            self._blind = True
            return
        self._blind = False
        under_way = {order.model: order for order in orders.open_orders()}
        self._orders = {order.id for order in under_way.values()}
        plans = {plan.model: plan for plan in store.plans()}
        self._known = dict(endpoints.announced(retired=True))
        for model in sorted({model for model, _ in self._known} | set(under_way)):
            try:
                self._look_at(model, plans.get(model), under_way.get(model))
            except VisionloopError as error:
                logger.warning("%s: %s", model, "; ".join(str(error).splitlines()))
            except Exception as error:
                if database.is_away(error):
                    raise
                logger.exception("the services of %s could not be looked after", model)

    def _look_at(self, model: str, plan: Plan | None, order: ReleaseOrder | None) -> None:
        for version in _versions(plan):
            known = self._known.get((model, version))
            if known is not None:
                self._ensure(known)
        if order is not None:
            plan = self._carry_out(order) or plan
        self._retire(model, plan, order)
        wanted = {process_name(one.tag) for (name, _), one in self._known.items() if name == model and not one.retired}
        wanted |= {process_name(self._known[model, v].tag) for v in _versions(plan) if (model, v) in self._known}
        wanted |= {process_name(order.tag)} if order is not None else set()
        ours = re.compile(rf"{re.escape(model)}-\d+(-.*)?")
        for name in filter(ours.fullmatch, [*self._services, *self._starting, *self._leaving, *self._stopping]):
            self._end(name, model, wanted)

    def _retire(self, model: str, plan: Plan | None, order: ReleaseOrder | None) -> None:
        over = plan.previous if plan and plan.previous and not self._warm(plan) else None
        kept = {*_versions(plan), order.version if order else None}
        kept |= {plan.previous} - {over} if plan else set()
        if any(name == model and not one.retired and version not in kept
               for (name, version), one in self._known.items()):  # fmt: skip
            for version in orders.retire_unwanted(model, plan.revision if plan else 0, over):
                logger.info("version %d of %s is not wanted any more", version, model)
                self._known[model, version] = replace(self._known[model, version], retired=True)

    def _warm(self, plan: Plan) -> bool:
        """Whether the version before is kept running: it does so for a while, but is not started again."""
        before = self._known.get((plan.model, plan.previous or 0))
        if before is None or before.retired:
            return False
        if datetime.now(UTC) - plan.since > timedelta(seconds=settings().warm_s):
            return False
        return process_name(before.tag) in self._services or deploy.is_ready(before)

    def _carry_out(self, order: ReleaseOrder) -> Plan | None:
        """Returns the plan that an order has led to; None while its service is on its way, or could not be had."""
        name = process_name(order.tag)
        if order.state == "waiting":
            self._failures.pop(name, None)
            orders.take_up(order)
        try:
            needed = Endpoint(order.model, order.version, "", order.tag, anyway=order.anyway)
            endpoint = self._ensure(needed)
            if endpoint is not None and deploy.is_ready(endpoint):
                changed = orders.carry_out(order)
                logger.info("%s: %s of version %d for %s", order.model, order.what, order.version, order.who)
                return changed
            if name in self._failures:
                orders.fail(order, self._failures[name].error)
        except VisionloopError as error:
            orders.fail(order, error)
        return None

    def _ensure(self, wanted: Endpoint) -> Endpoint | None:
        """The announced service of a version; None while it is being started, or cannot be."""
        name, known = process_name(wanted.tag), self._known.get((wanted.model, wanted.version))
        known = known if known is not None and known.tag == wanted.tag else None
        job, running = self._starting.get(name), self._services.get(name)
        if job is not None:
            if not job.over:
                return None
            del self._starting[name]
            if job.error is not None:
                self._failed(wanted, name, job.error)
                return None
            self._failures.pop(name, None)
            return self._announce(wanted, job.result)
        if name in self._stopping:
            return None
        if known is not None and not known.retired and (running is not None or deploy.is_ready(known)):
            return known
        if running is not None:
            ready = deploy.is_ready(replace(wanted, url=running.url))
            return self._announce(wanted, running) if ready else None
        failure = self._failures.get(name)
        if failure is None or time.monotonic() > failure.until:
            self._start(name, wanted.tag, known.url if known is not None else "")
        return None

    def _announce(self, wanted: Endpoint, running: Running) -> Endpoint:
        found = endpoints.announce(
            wanted.model, wanted.version, running.url, wanted.tag, running.pid, anyway=wanted.anyway
        )
        self._known[wanted.model, wanted.version] = found
        return found

    def _start(self, name: str, tag: str, url: str) -> None:
        """At the address it had, so that who knows it keeps it, or at another one."""
        port = urlsplit(url).port if url else None
        if port is None or deploy.busy(port):
            port = deploy.free_port()
        ready = f"http://{settings().service_host}:{port}/readyz"

        def work() -> Running:
            # The Bento carries its own copy of our packages: nothing may come before them.
            env = {**serve_environment(), "PYTHONPATH": ""}
            return self._starter.start(name, deploy.service_command(tag, port), env, ready)

        logger.info("starting %s", name)
        self._starting[name] = _Job(work)

    def _failed(self, wanted: Endpoint, name: str, error: Exception) -> None:
        count = self._failures[name].count + 1 if name in self._failures else 1
        self._failures[name] = _Failure(count, time.monotonic() + AGAIN_S[min(count, len(AGAIN_S)) - 1], error)
        said = error.found if isinstance(error, VisionloopError) else f"{type(error).__name__}: {error}"
        text = f"version {wanted.version} of {wanted.model} could not be started: {said.splitlines()[0]}"
        logger.warning("%s", text)
        if count == 1:
            journal.fact("release", text, wanted.model, alarm=True)
        known = self._known.get((wanted.model, wanted.version))
        if known is not None and known.tag == wanted.tag:
            endpoints.note_problem(wanted.model, wanted.version, said)

    def _end(self, name: str, model: str, wanted: set[str]) -> None:
        """Stops a service that is not wanted once the router has no request on it and sends it no more."""
        job = self._stopping.get(name)
        if job is not None:
            if job.over:
                del self._stopping[name]
                if job.error is not None:
                    logger.warning("%s could not be stopped: %s", name, job.error)
            return
        job = self._starting.get(name)
        if name in wanted or (job is not None and not job.over):
            self._leaving.pop(name, None)
            return
        self._starting.pop(name, None)
        running = self._services.get(name)
        if running is None:
            self._leaving.pop(name, None)
            return
        since = self._leaving.setdefault(name, time.monotonic())
        limit = min(DRAIN_S, settings().request_timeout_s + 5)
        if deploy.drained(self._router, model, running.url) or time.monotonic() - since > limit:
            logger.info("stopping %s", name)
            del self._leaving[name]
            self._stopping[name] = _Job(lambda: self._starter.stop(name))


def _versions(plan: Plan | None) -> list[int]:
    """The versions that a plan needs; the previous version is not one of them."""
    return [version for version in (plan.live, plan.second) if version] if plan else []
