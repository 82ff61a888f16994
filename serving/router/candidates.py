"""Which of a model's running versions may answer a request, and in which role."""

from __future__ import annotations

from collections.abc import Iterator

from serving.query.versions import check_available
from serving.releases.endpoints import Endpoint
from serving.releases.plans import Choice
from serving.releases.store import Route
from serving.wire.headers import Role


def pinned_choice(route: Route, version: int | None) -> Choice | None:
    """The choice of a caller that pins a version; None for one that does not. Raises Refused: it is not served."""
    if version is None:
        return None
    check_available(route.plan.model, version, [one.version for one in served(route)])
    return Choice(version, "live" if version == route.live.version else "pinned")


def served(route: Route) -> list[Endpoint]:
    """The versions that run: the live one first."""
    return [one for one in (route.live, route.second, route.previous) if one is not None]


def candidates(route: Route, chosen: Choice, pinned: int | None) -> Iterator[tuple[Endpoint, Role]]:
    """Who may answer, in this order: the chosen version, the live one, the previous one; for a pinned version it alone.

    A version that stands in for another does so with the role live, so that no comparison counts it.
    """
    if pinned is not None:
        yield from ((one, chosen.role) for one in served(route) if one.version == pinned)
        return
    first = route.of(chosen.version)
    if first is not None:
        yield first, chosen.role
    if first is not route.live:
        yield route.live, "live"
    if route.previous is not None:
        yield route.previous, "live"
