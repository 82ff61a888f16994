"""From findings to the one thing to do: nothing, mend the input, ask for labels, retrain, or roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.drift import IMAGE, Finding, Performance, Table

Action = Literal["none", "bad_input", "label", "retrain", "roll_back"]

ENOUGH_LABELS = 16
"""Labelled inputs of the new kind from which a fine-tuning is worth its time."""
BAD_SHARE = 0.5
ERROR_SHARE = 0.3
LEAST_ERRORS = 5
RECENT_S = 7 * 86400.0
"""How long after its first prediction a version still counts as just changed."""

DO = {
    "none": "nothing to do",
    "bad_input": "mend the source of the inputs: training on them would teach the model a fault",
    "label": "label some of these inputs, the most responsible first",
    "retrain": "retrain with the labelled inputs; the gate decides whether the new version serves",
    "roll_back": "roll back to the version before",
}


@dataclass(frozen=True)
class Diagnosis:
    action: Action
    why: str


@dataclass(frozen=True)
class Situation:
    """What the diagnosis looks at. `version_age_s` is None where no other version served before this one."""

    finding: Finding | None
    performance: Performance | None
    broken: Mapping[str, float]
    errors: Mapping[str, int]
    total: int
    labels: int
    version_age_s: float | None


def implausible(reference: Table, window: Table, plausible: Mapping[str, tuple[float, float, str]]) -> dict[str, float]:
    """What is broken about most of the window, in words -> its share of the rows.

    A range that the reference itself breaks says nothing about the window: this model was trained on such data.
    """
    found = {}
    for name, (low, high, means) in plausible.items():
        column = IMAGE + name
        if column not in window.columns or column not in reference.columns or not len(window):
            continue
        outside = [float(np.mean((t.columns[column] < low) | (t.columns[column] > high))) for t in (reference, window)]
        if outside[1] >= BAD_SHARE and outside[0] < 0.1:
            found[means] = outside[1]
    return found


def diagnose(s: Situation) -> Diagnosis:
    """Picks the action, and says in plain words what led to it."""
    failed = sum(s.errors.values())
    if failed >= LEAST_ERRORS and failed >= ERROR_SHARE * s.total:
        kinds = ", ".join(f"{count} x {name}" for name, count in sorted(s.errors.items(), key=lambda e: -e[1]))
        return Diagnosis("bad_input", f"{failed} of {s.total} inputs could not be read at all ({kinds})")
    if s.broken:
        told = " and ".join(f"in {share:.0%} of the inputs {what}" for what, share in s.broken.items())
        return Diagnosis("bad_input", f"{told}, which is not so in the data this version was trained on")
    moved = describe(s.finding) if s.finding and s.finding.drifted else ""
    worse = _worse(s.performance) if s.performance and s.performance.drifted else ""
    if moved:
        return _moved(moved, worse, s)
    if worse:
        return _only_worse(worse, s)
    if s.finding is None:
        return Diagnosis("none", f"only {s.total} predictions so far: too few to judge")
    return Diagnosis("none", f"{s.finding.rows} predictions look like the reference; {_holds(s.performance)}")


def _moved(moved: str, worse: str, s: Situation) -> Diagnosis:
    if not s.labels:
        return Diagnosis("label", f"{moved}; no labels tell how good the answers are ({ENOUGH_LABELS} let it retrain)")
    so_far = worse or _holds(s.performance)
    if s.labels >= ENOUGH_LABELS:
        return Diagnosis("retrain", f"{moved}; {so_far}; that many labels are enough to learn from")
    return Diagnosis("label", f"{moved}; {so_far}; {ENOUGH_LABELS} labels are needed to retrain, {s.labels} are there")


def _only_worse(worse: str, s: Situation) -> Diagnosis:
    if s.version_age_s is not None and s.version_age_s <= RECENT_S:
        hours = s.version_age_s / 3600
        when = f"{hours:.0f} hours" if hours >= 2 else f"{s.version_age_s / 60:.0f} minutes"
        return Diagnosis("roll_back", f"{worse} although the inputs look the same, and this version is {when} old")
    action: Action = "retrain" if s.labels >= ENOUGH_LABELS else "label"
    return Diagnosis(action, f"{worse} although the inputs look the same: what is right may have changed")


def describe(finding: Finding) -> str:
    """The drift in words: what moved, from where to where."""
    told = []
    data, answers = finding.test("data"), finding.test("prediction")
    for test, what in ((data, "the inputs"), (answers, "the answers")):
        if test and test.drifted:
            columns = sorted((c for c in test.columns if c.drifted), key=lambda c: -c.shift)[:3]
            names = ", ".join(
                f"{c.name.split('.', 1)[1].replace('_', ' ')} {c.reference[1]:.3g} -> {c.window[1]:.3g}"
                for c in columns
            )
            told.append(f"{what} moved ({names})")
    embedded = finding.test("embedding")
    if embedded and embedded.drifted:
        told.append("the network sees other features")
    return ", ".join(told)


def _worse(p: Performance) -> str:
    return f"the score fell from {p.reference:.3f} to {p.window:.3f} on {p.labels} labelled inputs"


def _holds(p: Performance | None) -> str:
    if p is None:
        return "there are too few labels to tell how good the answers are"
    return f"the score on {p.labels} labelled inputs is {p.window:.3f} (reference {p.reference:.3f})"
