"""Release plans: which version answers a request, and in which role. Pure: no database, no network."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from registry.core.errors import BadInput, Refused
from serving.wire.headers import Role

Kind = Literal["all", "canary", "shadow", "ab"]
"""all: every request goes to the live version. canary: a share goes to a second version, which is to become live.
shadow: the live version answers, the second one gets a copy. ab: as canary, but both stay until they are compared."""

Sticky = Literal["caller", "request"]
"""caller: a caller always meets the same version while the share does not shrink; request: each one is dealt anew."""

STEPS = (10, 50, 100)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Limits:
    """The guardrails of a plan. The guard (serving.guard.rollout) rolls back when one is broken.

    Attributes:
        min_calls: of the second version, before a step may end.
        min_seconds: the shortest time that a step takes.
        alpha: probability that a harmless version breaks one guardrail in one step.
        latency_ratio: the second version's 95th percentile may be so many times the live version's.
        disagreement: share of compared answers that may differ.
        drift: largest Kolmogorov-Smirnov distance, [0, 1], between the two versions' prediction statistics.
    """

    min_calls: int = 50
    min_seconds: float = 300.0
    alpha: float = 0.01
    latency_ratio: float = 1.5
    disagreement: float = 0.2
    drift: float = 0.5

    def __post_init__(self) -> None:
        ranges = {
            "min_calls": (1, 10**9),
            "min_seconds": (0, 10**9),
            "alpha": (1e-6, 0.2),
            "latency_ratio": (1, 10**6),
            "disagreement": (0, 1),
            "drift": (0, 1),
        }
        for name, (low, high) in ranges.items():
            default = getattr(type(self), name)
            if not low <= getattr(self, name) <= high:
                raise BadInput(
                    f"the limit {name} is {getattr(self, name):g}",
                    expected=f"{low:g} to {high:g}",
                    fix=f"e.g. --limit {name}={default:g}",
                )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Limits:
        """Limits from names and numbers or their text; what is not named keeps its default. Raises BadInput."""
        known: dict[str, type] = {field.name: type(field.default) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise BadInput(
                    f"there is no limit {name!r}",
                    expected=f"one of {', '.join(known)}",
                    fix="e.g. --limit min_calls=50",
                )
            try:
                values[name] = known[name](value)
            except ValueError as error:
                fix = f"e.g. --limit {name}={getattr(cls, name):g}"
                raise BadInput(f"the limit {name} is {value!r}", expected="a number", fix=fix) from error
        return cls(**values)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """Who answers a request, and which version gets a copy of it."""

    version: int
    role: Role
    copy_to: int | None = None


@dataclass(frozen=True)
class Plan:
    """The release plan of a model, as it is now.

    Attributes:
        live: number of the version that gets the requests; a of an A/B comparison.
        second: number of the version beside it; b of an A/B comparison; None for the kind `all`, and only for it.
        previous: the version that was live before.
        share: of the requests that the second version answers, percent, 1..99; 0 where it answers none.
        steps: the shares that a canary goes through by itself, ascending, percent; () keeps it at its share.
        state: running, rolled_back, promoted or decided.
        since: when this step began, UTC.
        why: of the last change.
        revision: grows with every change.
    """

    model: str
    kind: Kind
    live: int
    second: int | None = None
    previous: int | None = None
    share: int = 0
    sticky: Sticky = "request"
    steps: tuple[int, ...] = ()
    limits: Limits = Limits()
    state: str = "running"
    since: datetime = NEVER
    why: str = ""
    revision: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise BadInput(
                f"{self.kind!r} is not a release plan",
                expected=", ".join(get_args(Kind)),
                fix="docs/releases.md explains them",
            )
        if (self.kind == "all") != (self.second is None):
            raise BadInput(
                f"a plan of the kind {self.kind} has {'no' if self.second is None else 'a'} second version",
                expected="a second version for canary, shadow and ab, and none for all",
                fix=f"`visionloop release {self.model} VERSION` writes the plan anew",
            )
        if self.sticky not in get_args(Sticky):
            raise BadInput(f"sticky is {self.sticky!r}", expected="caller or request", fix="e.g. --sticky caller")
        if self.kind in ("canary", "ab") and not 1 <= self.share <= 99:
            raise BadInput(
                f"the share is {self.share} %",
                expected="1 to 99",
                fix="e.g. --share 10; `blue-green` gives a version all requests, `shadow` gives it copies",
            )
        if self.second == self.live:
            raise BadInput(
                f"version {self.live} of {self.model} is live already",
                expected="another version beside it",
                fix="`visionloop models` lists the versions",
            )
        ordered = all(low < high for low, high in itertools.pairwise(self.steps))
        if not ordered or not all(1 <= step <= 100 for step in self.steps):
            raise BadInput(
                f"the steps are {', '.join(map(str, self.steps))}",
                expected="ascending shares from 1 to 100, percent",
                fix="for example --steps 10,50,100",
            )

    def both(self) -> tuple[int, int]:
        """The live version and the second one. Raises Refused where there is no second one."""
        if self.second is None:
            raise Refused(
                f"{self.model} has no canary, shadow or A/B comparison",
                expected="a second version",
                fix=f"`visionloop release {self.model} canary VERSION` begins a canary",
            )
        return self.live, self.second

    @property
    def next_step(self) -> int | None:
        """The share after this one; None where the plan has no more steps."""
        return next((step for step in self.steps if step > self.share), None) if self.kind == "canary" else None

    def roles(self) -> dict[Role, int]:
        """Which version has which role; the live one comes first."""
        if self.second is None:
            return {"live": self.live}
        if self.kind == "ab":
            return {"a": self.live, "b": self.second}
        return {"live": self.live, "canary" if self.kind == "canary" else "shadow": self.second}


def trial(model: str, kind: Kind, **more: Any) -> Plan:
    """A plan with two versions as it begins, before its versions are known. Raises BadInput.

    Args:
        more: fields of `Plan`. By default a canary begins at the first of `STEPS` and goes on through those above its
            share, and an A/B comparison shares the callers equally.
    """
    usual: dict[str, Any] = {}
    if kind == "canary":
        share = more.get("share", STEPS[0])
        usual = {"share": share, "steps": tuple(step for step in STEPS if step > share)}
    elif kind == "ab":
        usual = {"share": 50, "sticky": "caller"}
    return Plan(model, kind, live=0, second=-1, **{**usual, **more})


def in_words(plan: Plan, warm: bool) -> str:
    """A plan in one sentence. `warm`: whether the previous version still runs."""
    if plan.second is None:
        previous = f"; version {plan.previous} is kept warm" if plan.previous and warm else ""
        return f"version {plan.live} of {plan.model} gets every request{previous}"
    if plan.kind == "shadow":
        return f"version {plan.live} of {plan.model} answers; version {plan.second} gets copies"
    steps = f", then {', '.join(f'{s} %' for s in plan.steps if s > plan.share)}" if plan.next_step else ""
    by = "callers" if plan.sticky == "caller" else "requests"
    return f"version {plan.second} of {plan.model} gets {plan.share} % of the {by}{steps}; version {plan.live} the rest"


def position(plan: Plan, key: str) -> float:
    """The position of a key in [0, 1): uniform over keys, and always the same for a key and a pair of versions.

    A key belongs to the second version while its position is below the share, so it stays there when the share grows.
    Another second version has other positions, so that the same callers do not always go first.
    """
    text = f"{plan.model}\0{plan.live}\0{plan.second}\0{key}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64


def choose(plan: Plan, key: str) -> Choice:
    """The version that answers. `key` is the caller where the plan is sticky by caller, else one of this request."""
    if plan.second is None:
        return Choice(plan.live, "live")
    if plan.kind == "shadow":
        return Choice(plan.live, "live", copy_to=plan.second)
    second = position(plan, key) < plan.share / 100
    if plan.kind == "ab":
        return Choice(plan.second, "b") if second else Choice(plan.live, "a")
    return Choice(plan.second, "canary") if second else Choice(plan.live, "live")
