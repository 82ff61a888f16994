"""Takes versions into service and out of it: switch, second version, promotion, rollback. None of them drops a request.

A plan is changed in the database; the router must say that it follows; requests on a service that is no longer wanted
finish; then that service is stopped. The version before stays warm for a while, so that going back is a change of plan.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from registry.errors import MissingService, NotFound, Refused
from registry.settings import settings
from serving import releases
from serving.packaging import Version, process_name, serve_command, serve_environment
from serving.plans import Plan
from serving.releases import ENDED, Endpoint

CONFIRM_S = 10.0
DRAIN_S = 60.0

# Router and services are our own: a company's proxy (http_proxy) has no way to them.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Late(MissingService):
    """A plan was changed and the router did not follow in time; what belongs to the change is done all the same.

    Attributes:
        plan: as it is now.
    """

    def __init__(self, error: MissingService, plan: Plan) -> None:
        super().__init__(f"the plan is changed, but {error.found}", expected=error.expected, mend=error.mend)
        self.plan = plan


class Started(Protocol):
    """A process that runs."""

    @property
    def pid(self) -> int | None: ...


class Starter(Protocol):
    """Starts and stops processes: the supervisor's client (`flows.stack.control.Stack`), or a test's own."""

    def start(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], ready_url: str, restart: bool = True
    ) -> Started:
        """Starts a process and waits until `ready_url` answers 200. Raises MissingService with its last words."""

    def stop(self, name: str) -> None:
        """Ends a process; says nothing if it is gone already."""


def roll_out(
    version: Version, tag: str, starter: Starter, router: str | None = None, *, who: str = "", why: str = ""
) -> Endpoint:
    """Gives the traffic of a model to a version that is packaged as `tag`; returns where it answers.

    The new service is started and must pass its golden samples; then the traffic is switched and the router must say
    that it follows. The old service is kept warm as `warm_s` says. What is live already is left as it is.

    Args:
        router: address that must confirm the switch; the default is this machine's, "" asks none.

    Raises:
        MissingService: the new service did not come up, or the router did not follow. The old version still
            gets the traffic then, and the new one is stopped.
    """
    model, plan, old = version.model, releases.plan(version.model), releases.live(version.model)
    same = old is not None and (old.version, old.tag) == (version.number, tag)
    if old is not None and same and plan is not None and not plan.two and answers(old):
        return old
    with _undone(version, tag, starter):
        new = start(version, tag, starter)
        follow(releases.switch(model, version.number, who, why), router)
    if old is not None and old.url != new.url and old.version == new.version:  # the same version, packaged anew
        drain(_address(router), old)
        if process_name(old.tag) != process_name(tag):
            starter.stop(process_name(old.tag))
    tidy(model, starter, router)
    return new


def begin(
    plan: Plan, version: Version, tag: str, starter: Starter, router: str | None = None, *, who: str = "", why: str = ""
) -> Plan:
    """Starts the second version of a plan and puts the plan into effect.

    Args:
        plan: canary, shadow or ab; its champion must be the live version.

    Raises:
        Refused: another version is being compared already, or the champion is not live.
        MissingService: as `roll_out`; everything stays as it was.
    """
    current = releases.plan(plan.model)
    if current is None or current.champion != plan.champion or releases.live(plan.model) is None:
        raise Refused(
            f"version {plan.champion} of {plan.model} is not live",
            expected="a live version to compare with",
            mend=f"`visionloop release {plan.model} {plan.champion}` releases it",
        )
    if current.two and current.challenger != plan.challenger:
        raise Refused(
            f"{plan.model} has a running {current.kind} of version {current.challenger}",
            expected="one second version at a time",
            mend=f"`visionloop release {plan.model} promote` or `rollback` ends it",
        )
    with _undone(version, tag, starter):
        start(version, tag, starter)
        changed = releases.change(
            plan.model,
            plan.kind,
            who,
            why,
            revision=current.revision,
            plan=plan.kind,
            challenger=plan.challenger,
            share=plan.share,
            sticky=plan.sticky,
            steps=list(plan.steps),
            limits=plan.limits.to_json(),
            state="running",
        )
        follow(changed, router)
    return changed


def promote(
    model: str,
    starter: Starter,
    router: str | None = None,
    *,
    who: str = "",
    why: str = "",
    clean: bool = True,
    **expected: Any,
) -> Plan:
    """Makes the second version the champion; the one until now is kept warm.

    Args:
        clean: stop what is not wanted any more, which takes as long as its last request; else `tidy` does.
        expected: `revision` of the plan that is meant, and the `page` that says why; see `releases.change`.

    Raises:
        Refused: there is no second version, or it does not answer.
        Late: the router did not follow in time; the change is made.
    """
    plan = _with_second(model)
    if not second_answers(plan):
        raise Refused(
            f"version {plan.challenger} of {model} does not answer",
            expected="a service that is ready",
            mend="wait until the supervisor has restarted it, or roll back",
        )
    columns = {**ENDED, "plan": "blue_green", "version": plan.challenger, "previous": plan.champion}
    changed = releases.change(model, "promote", who, why, **{**columns, "state": "promoted"}, **expected)
    return _put_into_effect(changed, starter, router, clean)


def roll_back(
    model: str,
    starter: Starter,
    router: str | None = None,
    *,
    who: str = "",
    why: str = "",
    clean: bool = True,
    **expected: Any,
) -> Plan:
    """Gives all traffic to the champion where a second version is being tried, else to the version before it.

    Args:
        clean, expected: as for `promote`.

    Raises:
        Refused: there is nothing to go back to.
        NotFound: the version before is not kept warm any more; it must be rolled out.
        Late: as for `promote`.
    """
    plan = releases.plan(model)
    if plan is not None and plan.two:
        columns = {**ENDED, "plan": "blue_green" if plan.previous else "all", "state": "rolled_back"}
    elif plan is None or plan.previous is None:
        raise Refused(
            f"{model} has no previous version to return to", mend=f"`visionloop release {model} VERSION` names one"
        )
    else:
        before = releases.announced(model).get((model, plan.previous))
        if before is None or not answers(before):
            raise NotFound(
                f"version {plan.previous} of {model} is not kept warm any more",
                expected="its service",
                mend=f"`visionloop release {model} {plan.previous}` starts it",
            )
        columns = {**ENDED, "plan": "blue_green", "version": plan.previous, "previous": plan.champion}
        columns["state"] = "rolled_back"
    changed = releases.change(model, "rollback", who, why, **columns, **expected)
    return _put_into_effect(changed, starter, router, clean)


def _put_into_effect(changed: Plan, starter: Starter, router: str | None, clean: bool) -> Plan:
    late: MissingService | None = None
    try:
        follow(changed, router)
    except MissingService as error:
        late = error
    if clean:
        tidy(changed.model, starter, router)
    if late is not None:
        raise Late(late, changed) from late
    return changed


def start(version: Version, tag: str, starter: Starter) -> Endpoint:
    """Starts the service of a version and announces it; one that runs, and is packaged as `tag`, is left running."""
    known = releases.announced(version.model).get((version.model, version.number))
    if known is not None and known.tag == tag and answers(known):
        return known
    port = free_port()
    url = f"http://{settings().service_host}:{port}"
    started = starter.start(process_name(tag), service_command(tag, port), serve_environment(), f"{url}/readyz")
    return releases.announce(version.model, version.number, url, tag, started.pid)


def service_command(tag: str, port: int) -> list[str]:
    """What runs the service of a Bento on `service_host`. Raises NotFound when there is no such Bento."""
    # Said although it is the default: Bentos that were packaged before there was `service_host` listen on `host`.
    return [*serve_command(tag, port), "--host", settings().service_host]


def tidy(model: str, starter: Starter, router: str | None = None, *, warm: bool = True) -> None:
    """Stops the services of a model that no plan wants any more, after their last request.

    Args:
        warm: keep the version before, unless the settings say that none is kept.
    """
    plan = releases.plan(model)
    wanted = set() if plan is None else {plan.champion, plan.challenger if plan.two else None}
    if plan is not None and warm and settings().warm_s > 0:
        wanted.add(plan.previous)
    for (_, number), endpoint in releases.announced(model).items():
        if number not in wanted:
            releases.retire(model, number)
            drain(_address(router), endpoint)
            starter.stop(process_name(endpoint.tag))


@contextmanager
def _undone(version: Version, tag: str, starter: Starter) -> Iterator[None]:
    """After a failure the plan is as it was, and what was started for it is stopped."""
    model = version.model
    plan, services = releases.plan(model), releases.announced(model)
    try:
        yield
    except BaseException:
        known = services.get((model, version.number))
        with suppress(Exception):  # the first error is the one to tell
            now = releases.plan(model)
            if known is not None:
                releases.announce(model, known.version, known.url, known.tag, known.pid)
            if plan is None:
                releases.withdraw(model)
            elif now is not None and now.revision != plan.revision:
                releases.change(model, "undo", why="it did not come into effect", **releases.columns(plan))
        with suppress(Exception):
            if known is None:
                releases.retire(model, version.number)
        with suppress(Exception):
            if known is None or process_name(known.tag) != process_name(tag):
                starter.stop(process_name(tag))
        raise


def _with_second(model: str) -> Plan:
    plan = releases.plan(model)
    if plan is None or not plan.two:
        raise Refused(
            f"{model} has no canary, shadow or A/B comparison",
            expected="a second version to promote",
            mend=f"`visionloop release {model} canary VERSION` begins one",
        )
    return plan


def _address(router: str | None) -> str:
    return settings().router_address if router is None else router


def free_port() -> int:
    """A port that nobody listens on at this moment, for a service."""
    with socket.socket() as probe:
        probe.bind((settings().service_host, 0))
        return int(probe.getsockname()[1])


def answers(endpoint: Endpoint) -> bool:
    """Whether the service is ready now."""
    try:
        with _DIRECT.open(f"{endpoint.url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def second_answers(plan: Plan) -> bool:
    """Whether the service of a plan's second version is ready now."""
    second = releases.announced(plan.model).get((plan.model, plan.challenger or 0))
    return second is not None and answers(second)


def follow(plan: Plan, router: str | None = None) -> None:
    """Waits until the router follows this plan, or a later one. Raises MissingService."""
    address = _address(router)
    found: Any = "no answer"
    end = time.monotonic() + CONFIRM_S
    while address and time.monotonic() < end:
        with suppress(OSError, ValueError):
            found = _routes(address)["routes"].get(plan.model, "no route")
            if isinstance(found, dict) and found["revision"] >= plan.revision:
                return
        time.sleep(0.05)
    if address:
        raise MissingService(
            f"the router at {address} did not follow within {CONFIRM_S:g} s: {found}",
            expected=f"revision {plan.revision} of the release plan of {plan.model}",
            mend="`visionloop status` says whether the router is up; `visionloop logs router` why not",
        )


def drain(router: str, endpoint: Endpoint) -> None:
    """Waits until the router neither names `endpoint` nor has a request on it; not for ever, as one may hang."""
    end = time.monotonic() + min(DRAIN_S, settings().request_timeout_s + 5)
    while router and time.monotonic() < end:
        try:
            said = _routes(router)
        except (OSError, ValueError):
            return  # without a router there is nothing on its way
        route = said["routes"].get(endpoint.model) or {}
        named = [route, *(route.get(part) or {} for part in ("challenger", "standby"))]
        if endpoint.url not in (one.get("url") for one in named) and not said["in_flight"].get(endpoint.url):
            return
        time.sleep(0.05)


def _routes(router: str) -> dict[str, Any]:
    with _DIRECT.open(f"{router}/-/routes", timeout=2) as answer:
        return dict(json.load(answer))
