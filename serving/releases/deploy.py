"""Changes which version gets the traffic: switch, second version, promotion, rollback. None of them drops a request.

A command changes the plan, or places an order where a service must be started first. The guard starts and stops
services (`serving.guard.controller`). The previous version stays warm for a while, so that a rollback only changes the
plan. Every change names the revision that it is meant for, and is refused where the plan has changed meanwhile.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

from registry.core.errors import BadInput, MissingService, NotFound, Refused
from registry.core.settings import settings
from serving.releases import endpoints, grants, orders, store
from serving.releases.endpoints import Endpoint
from serving.releases.orders import Say
from serving.releases.packaging import Version, digest_of, serve_command
from serving.releases.plans import Plan
from serving.releases.store import ONE_VERSION

CONFIRM_S = 10.0

# Below the ports that Linux gives to outgoing connections (32768 and up): one of those could take the port between
# this look and the moment when the service listens on it.
PORTS = range(20_000, 32_768)
PORT_TRIES = 200

# Without a proxy: http_proxy of a company does not reach our own router and services.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def roll_out(
    version: Version,
    tag: str,
    *,
    who: str = "",
    why: str = "",
    anyway: str = "",
    back: bool = False,
    say: Say = orders.ignore,
) -> Plan:
    """Gives all traffic of a model to the version that is packaged as `tag`, and waits until it is live.

    The guard starts the new service, which must pass its golden samples, then changes the plan. The old service is
    kept warm for `warm_s`. A version that is live already stays so.

    Args:
        anyway: the reason, where the gate did not grant the version.
        back: this is a rollback, and the history says so.
        say: gets a line whenever there is something new.

    Raises:
        MissingService: the new service did not come up, or no guard runs. The plan did not change.
        Refused: the gate did not grant the version, or somebody else changed the plan meanwhile, or is about to.
    """
    revision, plan = store.revision(version.model), None
    with suppress(BadInput):  # a plan that cannot be read is written anew
        plan = store.plan(version.model)
    if plan is not None and plan.second is None and plan.live == version.number:
        live = store.live(version.model)
        if live is not None and live.tag == tag and is_ready(live):
            return plan
    reason = grants.check(version.model, version.number, digest_of(tag), anyway)
    fields = {**ONE_VERSION, "live": version.number, "previous": plan.live if plan else None, "state": "rolled_back"}
    what, fields = ("rollback", fields) if back else ("release", {})
    order = orders.place(version, tag, what, revision=revision, fields=fields, who=who, why=why, anyway=reason)
    return orders.wait(order, say)


def begin(
    plan: Plan,
    version: Version,
    tag: str,
    *,
    who: str = "",
    why: str = "",
    anyway: str = "",
    say: Say = orders.ignore,
) -> Plan:
    """Puts a plan with two versions into effect, once the guard has started the second one's service.

    Args:
        plan: canary, shadow or ab, beside the version that is live now.
        anyway, say: as for `roll_out`.

    Raises:
        Refused: there is another second version already, or `plan.live` is not live; else as `roll_out`.
        MissingService: as `roll_out`; everything stays as it was.
    """
    current = store.plan(plan.model)
    if current is None or current.live != plan.live or store.live(plan.model) is None:
        raise Refused(
            f"version {plan.live} of {plan.model} is not live",
            expected="a live version to compare with",
            fix=f"`visionloop release {plan.model} {plan.live}` releases it",
        )
    if current.second not in (None, plan.second):
        raise Refused(
            f"{plan.model} has a running {current.kind} of version {current.second}",
            expected="one second version at a time",
            fix=f"`visionloop release {plan.model} promote` or `rollback` ends it",
        )
    # A shadow may show a version that the gate refused: no caller sees its answers.
    reason = anyway if plan.kind == "shadow" else grants.check(plan.model, version.number, digest_of(tag), anyway)
    fields = {
        "kind": plan.kind,
        "second": plan.second,
        "share": plan.share,
        "sticky": plan.sticky,
        "steps": list(plan.steps),
        "limits": plan.limits.to_json(),
        "state": "running",
    }
    return orders.wait(
        orders.place(
            version, tag, plan.kind, revision=current.revision, fields=fields, who=who, why=why, anyway=reason
        ),
        say,
    )


def promote(
    model: str, *, who: str = "", why: str = "", anyway: str = "", revision: int | None = None, **page: Any
) -> Plan:
    """Gives all traffic to the second version; the live one is kept warm.

    Args:
        anyway: the reason, where the gate did not grant it and none was given when its release began.
        revision: of the plan that is meant; None: as it is now.
        page: `page` and `decision` that say why, see `store.change`.

    Raises:
        Refused: there is no second version, it does not answer, the gate did not grant it, or somebody else changed
            the plan meanwhile.
    """
    plan = store.plan(model) or Plan(model, "all", live=0)
    live, second = plan.both()
    reason = grants.check_second(plan, anyway)
    if not second_is_ready(plan):
        raise Refused(
            f"version {second} of {model} does not answer",
            expected="a service that is ready",
            fix="wait until the supervisor has restarted it, or roll back",
        )
    fields = {**ONE_VERSION, "live": second, "previous": live, "state": "promoted"}
    meant = plan.revision if revision is None else revision
    todo = {"attach": second} if page else None
    why = f"{why}; anyway: {reason}".removeprefix("; ") if reason else why
    changed = store.change(model, "promote", who, why, revision=meant, todo=todo, **page, **fields)
    endpoints.note_anyway(model, changed.live, reason)
    return changed


def roll_back(model: str, *, who: str = "", why: str = "", revision: int | None = None, **page: Any) -> Plan:
    """Ends the trial of a second version, or gives all traffic to the previous version where there is none.

    Args:
        revision, page: as for `promote`.

    Raises:
        Refused: there is nothing to go back to, or somebody else changed the plan meanwhile.
        NotFound: the previous version is not kept warm any more; it must be rolled out.
    """
    plan = store.plan(model)
    fields = {**ONE_VERSION, "state": "rolled_back"}
    if plan is not None and plan.second is not None:
        left = plan.second
    elif plan is None or plan.previous is None:
        raise Refused(
            f"{model} has no previous version to return to", fix=f"`visionloop release {model} VERSION` names one"
        )
    else:
        before = endpoints.announced(model).get((model, plan.previous))
        if before is None or not is_ready(before):
            raise NotFound(
                f"version {plan.previous} of {model} is not kept warm any more",
                expected="its service",
                fix=f"`visionloop release {model} {plan.previous}` starts it",
            )
        fields |= {"live": plan.previous, "previous": plan.live}
        left = plan.live
    meant = plan.revision if revision is None else revision
    todo = {"left": left, "attach": left} if page else {"left": left}
    return store.change(model, "rollback", who, why, revision=meant, todo=todo, **page, **fields)


def service_command(tag: str, port: int) -> list[str]:
    """The command that serves a Bento on `service_host`. Raises NotFound when there is no such Bento."""
    # Named although it is the default: Bentos from before there was `service_host` would listen on `host`.
    return [*serve_command(tag, port), "--host", settings().service_host]


def free_port() -> int:
    """A port of `PORTS` that nobody listens on at this moment, for a service. Raises MissingService."""
    for _ in range(PORT_TRIES):
        port = PORTS[secrets.randbelow(len(PORTS))]
        if not busy(port):
            return port
    raise MissingService(
        f"no free port from {PORTS[0]} to {PORTS[-1]} on {settings().service_host} in {PORT_TRIES} tries",
        expected="a free port for the service",
        fix="`visionloop status` and `ss -ltn` show what listens there",
    )


def busy(port: int) -> bool:
    """Whether somebody listens on a port of `service_host`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings().service_host, port))
        except OSError:
            return True
    return False


def is_ready(endpoint: Endpoint) -> bool:
    """Whether the service is ready now."""
    try:
        with _DIRECT.open(f"{endpoint.url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def second_is_ready(plan: Plan) -> bool:
    """Whether the service of a plan's second version is ready now."""
    second = endpoints.announced(plan.model).get((plan.model, plan.both()[1]))
    return second is not None and is_ready(second)


def follow(plan: Plan, router: str | None = None) -> None:
    """Waits until the router has read this plan, or a later one.

    Args:
        router: its address; None means this machine's, "" waits for none.

    Raises:
        MissingService: the router did not follow in time. The plan is changed all the same.
    """
    address = settings().router_address if router is None else router
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
            f"the plan is changed, but the router at {address} did not follow within {CONFIRM_S:g} s: {found}",
            expected=f"revision {plan.revision} of the release plan of {plan.model}",
            fix="`visionloop status` says whether the router is up; `visionloop logs router` why not",
        )


def drained(router: str, model: str, url: str) -> bool:
    """Whether the router sends no requests to the service at `url` and has none on it. True where no router answers."""
    if not router:
        return True
    try:
        found = _routes(router)
    except (OSError, ValueError):
        return True
    route = found["routes"].get(model) or {}
    services = [route, *(route.get(part) or {} for part in ("second", "previous"))]
    return all(one.get("url") != url for one in services) and not found["in_flight"].get(url)


def _routes(router: str) -> dict[str, Any]:
    with _DIRECT.open(f"{router}/-/routes", timeout=2) as answer:
        return dict(json.load(answer))
