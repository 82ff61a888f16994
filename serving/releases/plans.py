"""Release plans: which version answers a request, and in which role. Pure: no database, no network."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from registry.core.errors import BadInput

Kind = Literal["all", "canary", "shadow", "blue_green", "ab"]
"""all, blue_green: every request goes to the champion (blue_green: it took over from a version that is kept warm).
canary: a share goes to the challenger, which is to become champion. shadow: the champion answers, the challenger gets
a copy. ab: as canary, but both stay until they have been compared."""

Role = Literal["champion", "canary", "shadow", "a", "b"]
Sticky = Literal["caller", "request"]
"""caller: a caller always meets the same version while the share does not shrink; request: every request is dealt."""

STEPS = (10, 50, 100)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Limits:
    """The guard rails of a plan; the guard (serving.guard.rollout) rolls back where one is broken.

    Attributes:
        min_calls: of the challenger, before a step may end.
        min_seconds: that a step takes at least.
        alpha: probability that a step of a harmless version breaks the rail of errors, and the same for each other one.
        latency_ratio: how far the challenger's 95th percentile may lie above the champion's.
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
            if not low <= getattr(self, name) <= high:
                raise BadInput(
                    f"the limit {name} is {getattr(self, name):g}", expected=f"{low:g} to {high:g}", fix="correct it"
                )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Limits:
        """Limits from names and numbers or their text; what is not named keeps its default. Raises BadInput."""
        known: dict[str, type] = {field.name: type(field.default) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise BadInput(
                    f"there is no limit {name!r}", expected=f"one of {', '.join(known)}", fix="correct the name"
                )
            try:
                values[name] = known[name](value)
            except ValueError as error:
                raise BadInput(f"the limit {name} is {value!r}", expected="a number", fix="correct it") from error
        return cls(**values)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Chosen:
    """Who answers a request, and which version gets a copy of it."""

    version: int
    role: Role
    copy_to: int | None = None


@dataclass(frozen=True)
class Plan:
    """The release plan of a model, as it is now.

    Attributes:
        champion, challenger: version numbers; in an A/B comparison they are a and b.
        previous: the version that the champion took over from.
        share: of the requests that the challenger answers, percent, 1..99; 0 where it answers none.
        steps: the shares that a canary goes through by itself, ascending, percent; () holds it where it is.
        state: running, rolled_back, promoted or decided.
        since: when this step began, UTC.
        why: of the last change.
        revision: grows with every change.
    """

    model: str
    kind: Kind
    champion: int
    challenger: int | None = None
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
            raise BadInput(f"{self.kind!r} is no release plan", expected=", ".join(get_args(Kind)), fix="choose one")
        if self.sticky not in get_args(Sticky):
            raise BadInput(f"sticky is {self.sticky!r}", expected="caller or request", fix="choose one of them")
        if self.kind in ("canary", "ab") and not 1 <= self.share <= 99:
            raise BadInput(
                f"the share is {self.share} %",
                expected="1 to 99",
                fix="choose one; `blue-green` gives a version everything, `shadow` nothing",
            )
        if self.challenger == self.champion:
            raise BadInput(
                f"version {self.champion} of {self.model} is the champion already",
                expected="another version beside it",
                fix="`visionloop models` and MLflow list the versions",
            )
        ordered = all(low < high for low, high in itertools.pairwise(self.steps))
        if not ordered or not all(1 <= step <= 100 for step in self.steps):
            raise BadInput(
                f"the steps are {', '.join(map(str, self.steps))}",
                expected="ascending shares from 1 to 100, percent",
                fix="for example --steps 10,50,100",
            )

    @property
    def two(self) -> bool:
        """Whether two versions are compared now."""
        return self.challenger is not None and self.kind in ("canary", "shadow", "ab")

    @property
    def next_step(self) -> int | None:
        """The share after this one; None where the plan has no more steps."""
        return next((step for step in self.steps if step > self.share), None) if self.kind == "canary" else None

    def roles(self) -> dict[Role, int]:
        """Who has which role."""
        first: Role = "a" if self.kind == "ab" else "champion"
        if not self.two or self.challenger is None:
            return {first: self.champion}
        second: dict[str, Role] = {"canary": "canary", "shadow": "shadow", "ab": "b"}
        return {first: self.champion, second[self.kind]: self.challenger}


def in_words(plan: Plan, warm: bool) -> str:
    """A plan in one sentence; `warm`: whether the version before still runs."""
    if plan.challenger is None or not plan.two:
        before = f"; version {plan.previous} is kept warm" if plan.previous and warm else ""
        return f"version {plan.champion} of {plan.model} gets every request{before}"
    if plan.kind == "shadow":
        return f"version {plan.champion} of {plan.model} answers; version {plan.challenger} gets copies"
    steps = f", then {', '.join(f'{s} %' for s in plan.steps if s > plan.share)}" if plan.next_step else ""
    by = "callers" if plan.sticky == "caller" else "requests"
    return (
        f"version {plan.challenger} of {plan.model} gets {plan.share} % of the {by}{steps}; "
        f"version {plan.champion} the rest"
    )


def position(plan: Plan, key: str) -> float:
    """Where a key stands in [0, 1): uniform over keys, always the same for a key and a pair of versions.

    A key is the challenger's while its position is below the share, so it stays there when the share grows.
    Another challenger has other positions: it is not always the same callers that go first.
    """
    text = f"{plan.model}\0{plan.champion}\0{plan.challenger}\0{key}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64


def choose(plan: Plan, key: str) -> Chosen:
    """Who answers the request of `key`: the caller where the plan is sticky by caller, else the request's own."""
    if plan.challenger is None or not plan.two:
        return Chosen(plan.champion, "champion")
    if plan.kind == "shadow":
        return Chosen(plan.champion, "champion", copy_to=plan.challenger)
    second = position(plan, key) < plan.share / 100
    if plan.kind == "ab":
        return Chosen(plan.challenger, "b") if second else Chosen(plan.champion, "a")
    return Chosen(plan.challenger, "canary") if second else Chosen(plan.champion, "champion")
