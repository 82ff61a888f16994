"""A/B comparisons: scores of labelled predictions, and the sequential test on them.

`python -m serving.guard.ab_test MODEL VERSION` scores the labels that wait, with the version that predicted. It is a
process of its own, because it loads a network.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from registry.core import database
from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from registry.versions.decision import Reason
from serving.guard.sequential_tests import TestResult, compare
from serving.releases.bento_files import BUNDLE
from serving.releases.endpoints import announced
from serving.releases.packaging import bento_folder
from serving.releases.plans import Plan
from serving.wire.headers import Role

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from monitoring.log.models import Feedback

logger = logging.getLogger("visionloop.guard")

SCORE_EVERY_S = 10.0
RETRY_PAUSES_S = (30.0, 120.0, 600.0)
"""Pauses after a failed scoring, as of a version whose Bento is on another machine."""


class AbTest:
    """The comparisons that are under way. New labels are scored by another process, one version at a time."""

    def __init__(self) -> None:
        self._scoring: tuple[tuple[str, int], subprocess.Popen[bytes]] | None = None
        self._next: dict[tuple[str, int], float] = {}
        self._failed: Counter[tuple[str, int]] = Counter()
        self._seen: dict[str, object] = {}

    def look(self, plan: Plan) -> list[Reason] | None:
        """The result once the test is over, the comparison itself first; None while it goes on."""
        self._score(plan)
        state = (plan.revision, *_marker(plan))
        if self._seen.get(plan.model) == state:
            return None  # no new scores since the last look; the interval takes a good part of a second
        found = result(plan)
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
        """Starts the scoring of the version that has waited longest, if no other scoring runs."""
        self._finish()
        if self._scoring is not None:
            return
        now = time.monotonic()
        both = [(plan.model, version) for version in plan.both()]
        for model, version in sorted(both, key=lambda one: self._next.get(one, 0.0)):
            if self._next.get((model, version), 0.0) <= now and unscored(model, version):
                self._next[model, version] = now + SCORE_EVERY_S
                command = [sys.executable, "-m", "serving.guard.ab_test", model, str(version)]
                process = subprocess.Popen(command, env=settings().child_environment())
                self._scoring = (model, version), process
                return

    def _finish(self) -> None:
        if self._scoring is None or self._scoring[1].poll() is None:
            return
        one, process = self._scoring
        self._scoring = None
        if process.returncode == 0:
            del self._failed[one]
            return
        self._failed[one] += 1
        wait = RETRY_PAUSES_S[min(self._failed[one], len(RETRY_PAUSES_S)) - 1]
        self._next[one] = time.monotonic() + wait
        logger.warning("the labels of version %d of %s could not be scored; again in %g s", one[1], one[0], wait)


def result(plan: Plan) -> TestResult:
    """The test on the scores so far."""
    return compare(scores_of(plan, "a"), scores_of(plan, "b"))


def _marker(plan: Plan) -> tuple[object, ...]:
    """A value that changes with every new score. Cheap."""
    from django.db.models import Count, Max

    return tuple(tuple(_scored(plan, role).aggregate(Count("score"), Max("time")).values()) for role in plan.roles())


def scores_of(plan: Plan, role: Role) -> list[float]:
    """Scores of the labelled predictions of a role, in the order of their labels.

    Labels that a drift report asked for do not count: they are of the worst predictions, not of any.
    """
    return list(_scored(plan, role).order_by("time", "prediction_id").values_list("score", flat=True))


def _scored(plan: Plan, role: Role) -> QuerySet[Feedback]:
    from monitoring.log.models import Feedback

    return Feedback.objects.filter(
        prediction__model=plan.model,
        prediction__version=plan.roles()[role],
        prediction__role=role,
        prediction__time__gte=plan.since,
        score__isnull=False,
        suggested=False,
    )


def unscored(model: str, version: int) -> bool:
    """Whether there are labels that wait to be scored."""
    from monitoring.log.models import Feedback

    waiting = Feedback.objects.filter(prediction__model=model, prediction__version=version, score=None, problem="")
    return bool(waiting.exists())


def score(model: str, version: int) -> int:
    """Scores the labels that wait; returns how many. Raises NotFound where the version has no service here."""
    from monitoring.feedback import performance
    from registry.versions.predictor import Predictor

    database.setup()
    endpoint = announced(model).get((model, version))
    if endpoint is None:
        raise NotFound(f"version {version} of {model} is not served", expected="an announced service")
    bundle = bento_folder(endpoint.tag) / "src" / BUNDLE
    return performance.score_pending(model, version, Predictor.load(bundle, 1, settings().max_voxels))


def main() -> None:
    os.nice(10)
    try:
        print(score(sys.argv[1], int(sys.argv[2])), "labels scored")
    except VisionloopError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
