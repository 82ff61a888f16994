"""Chooses the action that a verdict asks for: none, fix the input, label, retrain or roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.findings import IMAGE, MIN_REFERENCE, Finding, Performance, Table

Action = Literal["none", "bad_input", "label", "retrain", "roll_back"]

ENOUGH_LABELS = 28
"""New labelled inputs from which a retraining is worth its time. A third of them is held out, by a hash of their names,
and the gate needs 6 or more (decision 39). 28 labels give that many 96 times in 100; 16 labels half of the time."""
BAD_SHARE = 0.5
TRAINED_ON = 0.1
ERROR_SHARE = 0.3
LEAST_ERRORS = 5
RECENT_S = 7 * 86400.0
"""How long after its first prediction a version counts as new."""

ADVICE = {
    "none": "nothing to do",
    "bad_input": "fix the source of the inputs: training on them would teach the model a fault",
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
    """What the diagnosis looks at.

    Attributes:
        kinds: data, prediction, embedding, performance -> whether Evidently's test failed.
        labels: usable labels of the window that no version was trained with yet.
        learned: labels that a version was trained with, or that a running training uses.
        version_age_s: None if no other version served before this one.
        reference: rows of the version's reference.
    """

    kinds: Mapping[str, bool]
    finding: Finding | None
    performance: Performance | None
    broken: Mapping[str, float]
    errors: Mapping[str, int]
    total: int
    labels: int
    version_age_s: float | None
    learned: int = 0
    reference: int = MIN_REFERENCE


Ranges = Mapping[str, tuple[float, float, str]]
"""Statistic -> lowest and highest plausible value, and what a value beyond them means."""


def ranges_that_apply(reference: Table, plausible: Ranges) -> dict[str, tuple[float, float, str]]:
    """The ranges that the reference itself keeps. Inputs beyond the others are what the model was trained on."""
    found = {}
    for name, (low, high, means) in plausible.items():
        values = reference.columns.get(IMAGE + name)
        if values is not None and float(np.mean((values < low) | (values > high))) < TRAINED_ON:
            found[name] = (low, high, means)
    return found


def broken_rows(window: Table, ranges: Ranges) -> NDArray[np.bool_]:
    """bool [n]: which rows of the window lie outside a plausible range."""
    broken = np.zeros(len(window), dtype=bool)
    for name, (low, high, _) in ranges.items():
        values = window.columns.get(IMAGE + name)
        if values is not None:
            broken |= (values < low) | (values > high)
    return broken


def broken_shares(window: Table, ranges: Ranges) -> dict[str, float]:
    """Faults that most rows of the window have, in words -> their share of the rows."""
    shares = {means: broken_rows(window, {name: one}) for name, one in ranges.items() for means in one[2:]}
    return {means: float(rows.mean()) for means, rows in shares.items() if len(rows) and rows.mean() >= BAD_SHARE}


def diagnose(s: Situation) -> Diagnosis:
    """The action, with its reason in plain words."""
    failed = sum(s.errors.values())
    if failed >= LEAST_ERRORS and failed >= ERROR_SHARE * s.total:
        kinds = ", ".join(f"{count} x {name}" for name, count in sorted(s.errors.items(), key=lambda e: -e[1]))
        return Diagnosis("bad_input", f"{failed} of {s.total} inputs could not be read at all ({kinds})")
    if s.broken:
        faults = " and ".join(f"in {share:.0%} of the inputs {what}" for what, share in s.broken.items())
        return Diagnosis("bad_input", f"{faults}, which is not so in the data this version was trained on")
    moved = describe(s.finding, s.kinds) if s.finding else ""
    worse = _score_fell(s.performance) if s.performance and s.kinds.get("performance") else ""
    if moved:
        return _when_moved(moved, worse, s)
    if worse:
        return _when_only_worse(worse, s)
    if s.reference < MIN_REFERENCE:
        rows = f"its reference has {s.reference} test cases, and {MIN_REFERENCE} are needed"
        return Diagnosis("none", f"this version is not watched: {rows}; add some, and run the loop again")
    if s.finding is None:
        return Diagnosis("none", f"only {s.total} predictions so far: too few to judge")
    return Diagnosis("none", f"{s.finding.rows} predictions look like the reference; {_score_so_far(s.performance)}")


def _when_moved(moved: str, worse: str, s: Situation) -> Diagnosis:
    if not s.labels and not s.learned:
        return Diagnosis("label", f"{moved}; no labels tell how good the answers are ({ENOUGH_LABELS} let it retrain)")
    so_far = worse or _score_so_far(s.performance)
    if s.labels >= ENOUGH_LABELS:
        return Diagnosis("retrain", f"{moved}; {so_far}; that many labels are enough to learn from")
    return Diagnosis("label", f"{moved}; {so_far}; {_waited_for(s)}")


def _waited_for(s: Situation) -> str:
    learned = f" ({s.learned} more are learnt from already)" if s.learned else ""
    return f"{ENOUGH_LABELS} new labels are needed to retrain, {s.labels} are there{learned}"


def _when_only_worse(worse: str, s: Situation) -> Diagnosis:
    if s.version_age_s is not None and s.version_age_s <= RECENT_S:
        hours = s.version_age_s / 3600
        when = f"{hours:.0f} hours" if hours >= 2 else f"{s.version_age_s / 60:.0f} minutes"
        return Diagnosis("roll_back", f"{worse} although the inputs look the same, and this version is {when} old")
    why = f"{worse} although the inputs look the same: what is right may have changed"
    if s.labels >= ENOUGH_LABELS:
        return Diagnosis("retrain", why)
    return Diagnosis("label", f"{why}; {_waited_for(s)}")


def describe(finding: Finding, kinds: Mapping[str, bool]) -> str:
    """The drift in words: what moved, from where to where; "" if nothing did."""
    words = []
    data, answers = finding.test("data"), finding.test("prediction")
    for test, what in ((data, "the inputs"), (answers, "the answers")):
        if test and kinds.get(test.kind):
            columns = sorted((c for c in test.columns if c.drifted), key=lambda c: -c.shift)[:3]
            names = ", ".join(
                f"{c.name.split('.', 1)[1].replace('_', ' ')} {c.reference[1]:.3g} -> {c.window[1]:.3g}"
                for c in columns
            )
            words.append(f"{what} moved ({names})")
    if kinds.get("embedding"):
        words.append("the network sees other features")
    return ", ".join(words)


def _score_fell(p: Performance) -> str:
    return f"the score fell from {p.reference:.3f} to {p.window:.3f} on {p.labels} labelled inputs"


def _score_so_far(p: Performance | None) -> str:
    if p is None:
        return "there are too few labels to tell how good the answers are"
    return f"the score on {p.labels} labelled inputs is {p.window:.3f} (reference {p.reference:.3f})"
