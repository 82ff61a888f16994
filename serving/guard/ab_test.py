"""The end of an A/B comparison: scores of labelled predictions, and the sequential test on them."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from registry.core.settings import settings
from registry.versions.decision import Reason
from serving.guard.sequential_tests import TestResult, compare
from serving.releases.plans import Plan, Role

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from monitoring.log.models import Feedback

logger = logging.getLogger("visionloop.guard")

SCORE_EVERY_S = 10.0
AGAIN_S = (30.0, 120.0, 600.0)
"""When the labels of a version are tried again whose scoring failed, as where its Bento is not here."""


class AbTest:
    """Looks at A/B plans; new labels are scored by a process of its own, which loads the version that predicted."""

    def __init__(self) -> None:
        self._scoring: tuple[tuple[str, int], subprocess.Popen[bytes]] | None = None
        self._next: dict[tuple[str, int], float] = {}
        self._failed: Counter[tuple[str, int]] = Counter()
        self._seen: dict[str, object] = {}

    def look(self, plan: Plan) -> list[Reason] | None:
        """What the test says once it is over, the test itself first; None while it goes on."""
        self._score(plan)
        state = (plan.revision, *scored(plan))
        if self._seen.get(plan.model) == state:
            return None  # as at the last look: the interval takes a good part of a second
        found = standing(plan)
        if not found.over:
            self._seen[plan.model] = state
            return None
        margin = f"{found.b - found.a:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        means = f"mean score of b {found.b:.3f}, of a {found.a:.3f}, difference {margin}, {found.pairs} pairs"
        verdict = {"b": "b is better", "a": "a is better"}.get(found.winner, "no difference beyond chance")
        promise = (
            f"sees a difference where there is none with probability {found.alpha:g} at most, whenever it is stopped; "
            f"finds one of {found.effect:g} within {found.most} pairs with probability {found.power:g} or more"
        )
        return [
            Reason("b scores better", found.winner == "b", f"{verdict}: {means}", "b above a beyond chance"),
            Reason("evidence", True, f"{found.evidence:.3g}", f"{1 / found.alpha:g} decides"),
            Reason("error rates", True, "sequential test by betting (doi:10.1093/jrsssb/qkad009)", promise),
        ]

    def _score(self, plan: Plan) -> None:
        """One process at a time; the versions whose labels wait take turns, whatever becomes of the others."""
        self._over()
        if self._scoring is not None:
            return
        now = time.monotonic()
        both = [(plan.model, version) for version in plan.both()]
        for model, version in sorted(both, key=lambda one: self._next.get(one, 0.0)):
            if self._next.get((model, version), 0.0) <= now and unscored(model, version):
                self._next[model, version] = now + SCORE_EVERY_S
                command = [sys.executable, "-m", "serving.guard.scoring", model, str(version)]
                process = subprocess.Popen(command, env=settings().child_environment())
                self._scoring = (model, version), process
                return

    def _over(self) -> None:
        if self._scoring is None or self._scoring[1].poll() is None:
            return
        one, process = self._scoring
        self._scoring = None
        if process.returncode == 0:
            del self._failed[one]
            return
        self._failed[one] += 1
        wait = AGAIN_S[min(self._failed[one], len(AGAIN_S)) - 1]
        self._next[one] = time.monotonic() + wait
        logger.warning("the labels of version %d of %s could not be scored; again in %g s", one[1], one[0], wait)


def standing(plan: Plan) -> TestResult:
    """Where a comparison stands, with the scores that are known now."""
    return compare(scores_of(plan, "a"), scores_of(plan, "b"))


def scored(plan: Plan) -> tuple[object, ...]:
    """What tells whether there are other scores than at an earlier look; cheap."""
    from django.db.models import Count, Max

    return tuple(tuple(_scored(plan, role).aggregate(Count("score"), Max("time")).values()) for role in plan.roles())


def scores_of(plan: Plan, role: Role) -> list[float]:
    """Scores of the labelled predictions of a role in this comparison, in the order their labels came in; without those
    whose label a drift report had asked for."""
    return list(_scored(plan, role).order_by("time", "prediction_id").values_list("score", flat=True))


def _scored(plan: Plan, role: Role) -> QuerySet[Feedback]:
    from monitoring.log.models import Feedback

    return Feedback.objects.filter(
        prediction__model=plan.model,
        prediction__version=plan.roles()[role],
        prediction__role=role,
        prediction__time__gte=plan.since,
        score__isnull=False,
        suggested=False,  # labels that a drift report asked for are of the worst predictions, not of any
    )


def unscored(model: str, version: int) -> bool:
    from monitoring.log.models import Feedback

    waiting = Feedback.objects.filter(prediction__model=model, prediction__version=version, score=None, problem="")
    return bool(waiting.exists())
