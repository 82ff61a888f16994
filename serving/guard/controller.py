"""Starts the services that are needed and stops those that are not. Nothing else starts or stops one.

Needed are the versions of the release plans, the previous version while it is kept warm, and the version of an open
order (`serving.releases.orders`). Commands change plans and place orders. The guard's process looks several times a
second, and stops a service after its last request. As there is one such process, nobody stops a service that another
has just started. As it looks again and again, it completes whatever was interrupted.
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
"""The longest wait for requests of a service that is to stop; it has time of its own to finish them."""
RETRY_PAUSES_S = (10.0, 30.0, 60.0, 300.0)
"""Pauses before a service that could not be started is tried again. An order is not tried again: it fails."""


class Running(Protocol):
    """A process that a `Starter` looks after."""

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
    """A slow call in a thread of its own, which never uses the database."""

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
        """Whether something is being started or stopped, so that the next look should come soon."""
        return bool(self._starting or self._stopping or self._leaving or self._orders)

    def look(self) -> None:
        """Looks at every model once. An error in one model is logged and stops no other one.

        Raises what the database's driver raises while the database is away.
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
        over = plan.previous if plan and plan.previous and not self._warm(plan) else None  # its warm time is over
        kept = {*_versions(plan), order.version if order else None}
        kept |= {plan.previous} - {over} if plan else set()
        if any(name == model and not one.retired and version not in kept
               for (name, version), one in self._known.items()):  # fmt: skip
            for version in orders.retire_unwanted(model, plan.revision if plan else 0, over):
                logger.info("version %d of %s is not wanted any more", version, model)
                self._known[model, version] = replace(self._known[model, version], retired=True)

    def _warm(self, plan: Plan) -> bool:
        """Whether the previous version is kept running: for a while, if it runs; it is not started again."""
        previous = self._known.get((plan.model, plan.previous or 0))
        if previous is None or previous.retired:
            return False
        if datetime.now(UTC) - plan.since > timedelta(seconds=settings().warm_s):
            return False
        return process_name(previous.tag) in self._services or deploy.is_ready(previous)

    def _carry_out(self, order: ReleaseOrder) -> Plan | None:
        """Returns the changed plan; None while the order's service is being started, or where it failed."""
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
        """The announced service of a version; None while it is being started, or cannot be started."""
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
        found = endpoints.announce(wanted.model, wanted.version, running.url, wanted.tag, anyway=wanted.anyway)
        self._known[wanted.model, wanted.version] = found
        return found

    def _start(self, name: str, tag: str, url: str) -> None:
        """Starts a service at the address it had (`url`), so that routers need not change, or at a free one."""
        port = urlsplit(url).port if url else None
        if port is None or deploy.busy(port):
            port = deploy.free_port()
        ready = f"http://{settings().service_host}:{port}/readyz"

        def work() -> Running:
            # The Bento has its own copy of our packages, which must come first.
            env = {**serve_environment(), "PYTHONPATH": ""}
            return self._starter.start(name, deploy.service_command(tag, port), env, ready)

        logger.info("starting %s", name)
        self._starting[name] = _Job(work)

    def _failed(self, wanted: Endpoint, name: str, error: Exception) -> None:
        count = self._failures[name].count + 1 if name in self._failures else 1
        self._failures[name] = _Failure(
            count, time.monotonic() + RETRY_PAUSES_S[min(count, len(RETRY_PAUSES_S)) - 1], error
        )
        why = error.found if isinstance(error, VisionloopError) else f"{type(error).__name__}: {error}"
        text = f"version {wanted.version} of {wanted.model} could not be started: {why.splitlines()[0]}"
        logger.warning("%s", text)
        if count == 1:
            journal.fact("release", text, wanted.model, alarm=True)
        known = self._known.get((wanted.model, wanted.version))
        if known is not None and known.tag == wanted.tag:
            endpoints.note_problem(wanted.model, wanted.version, why)

    def _end(self, name: str, model: str, wanted: set[str]) -> None:
        """Stops a service that is not wanted, once the router has no request on it and sends no more."""
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
