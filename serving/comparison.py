"""The end of an A/B comparison: scores of labelled predictions, and the sequential test on them."""

from __future__ import annotations

import subprocess
import sys
import time

from registry.decision import Reason
from registry.settings import settings
from serving.plans import Plan
from serving.sequential import Verdict, compare

SCORE_EVERY_S = 10.0


class Comparison:
    """Looks at A/B plans; new labels are scored by a process of its own, which loads the version that predicted."""

    def __init__(self) -> None:
        self._scoring: subprocess.Popen[bytes] | None = None
        self._next = 0.0

    def look(self, plan: Plan) -> list[Reason] | None:
        """What the test says once it is over, the test itself first; None while it goes on."""
        self._score(plan)
        found = standing(plan)
        if not found.over:
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
        running = self._scoring is not None and self._scoring.poll() is None
        if running or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SCORE_EVERY_S
        for version in (plan.champion, plan.challenger or 0):
            if unscored(plan.model, version):
                command = [sys.executable, "-m", "serving.scoring", plan.model, str(version)]
                self._scoring = subprocess.Popen(command, env=settings().child_environment())
                return


def standing(plan: Plan) -> Verdict:
    """Where a comparison stands, with the scores that are known now."""
    scores = {role: scores_of(plan, role) for role in ("a", "b")}
    return compare(scores["a"], scores["b"])


def scores_of(plan: Plan, role: str) -> list[float]:
    """Scores of the labelled predictions of a role in this comparison, in the order their labels came in."""
    from monitoring.models import Feedback

    version = plan.roles()[role]  # type: ignore[index]
    rows = Feedback.objects.filter(
        prediction__model=plan.model,
        prediction__version=version,
        prediction__role=role,
        prediction__time__gte=plan.since,
        score__isnull=False,
    )
    return list(rows.order_by("time", "prediction_id").values_list("score", flat=True))


def unscored(model: str, version: int) -> bool:
    from monitoring.models import Feedback

    waiting = Feedback.objects.filter(prediction__model=model, prediction__version=version, score=None, problem="")
    return bool(waiting.exists())
