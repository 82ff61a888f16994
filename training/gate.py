"""The gate: whether a version may become champion. It looks again at both versions, on the same held-out cases, now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from registry.bundle import Bundle, Score
from registry.decision import Decision, Reason, SliceRow
from registry.errors import BundleError
from registry.media import Case
from registry.predictor import Predictor
from registry.spec import ModelSpec
from registry.versions import Version
from training.evaluate import Evaluation, evaluate, paired, slices
from training.export import size_mb
from training.stage import Evaluating, Stage, open_stage, parse

OVERALL = "all"
PICTURES = 3


def decide(
    challenger: Version,
    challenger_bundle: Bundle,
    champion: Version | None,
    champion_bundle: Bundle | None,
    *,
    asked_by: str,
    why: str,
    must_win_on: str | None = None,
) -> Decision:
    """Granted when every rule passes: golden samples, metric floor, latency and size budgets, data checks; against a
    champion also: no more than `budget.metric_loss` lost, in slices beyond chance, and better overall or, when given,
    on the slice `must_win_on` (e.g. `origin=drift-bias-field`), there by its whole interval. The caller saves the page.

    Raises:
        NotFound, DataError: there are no held-out cases.
        BundleError: a network cannot be loaded.
    """
    stage = open_stage(challenger.model)
    spec, held = stage.spec, stage.split("test")
    bootstrap = parse(Evaluating, spec.name, "evaluate", stage.sections["evaluate"]).bootstrap
    mine = _Side(stage, challenger_bundle, held, bootstrap)
    theirs = _Side(stage, champion_bundle, held, bootstrap) if champion and champion_bundle else None
    rows = _compare(spec, held, mine.found, theirs.found if theirs else None, bootstrap)
    validation = _validation(stage)
    reasons = [_golden(mine), *_absolute(spec, challenger_bundle, mine.found.score), *_data(validation)]
    if theirs:
        reasons += [_no_loss(spec, rows), _win(spec, rows, must_win_on)]
    return Decision(
        model=spec.name,
        challenger=challenger.number,
        champion=champion.number if champion else None,
        granted=all(reason.passed for reason in reasons),
        asked_by=asked_by,
        why=why,
        metric=spec.metric.title,
        data_hash=stage.data_hash,
        reasons=tuple(reasons),
        slices=tuple(rows),
        variants=challenger_bundle.manifest.variants,
        pictures=_pictures(spec, held, mine.found, theirs.found if theirs else None),
        validation=validation,
        classes=tuple(_classes(mine.found, theirs.found if theirs else None)),
        digest=challenger.digest,
        champion_digest=champion.digest if champion else "",
        must_win_on=must_win_on,
        group_by=tuple(filter(None, map(str.strip, spec.tags.get("groups", "").split(",")))),
    )


class _Side:
    """One version, evaluated now."""

    def __init__(self, stage: Stage, bundle: Bundle, held: Sequence[Case], bootstrap: int) -> None:
        self.predictor = Predictor(bundle, stage.settings.threads, stage.settings.max_voxels)
        self.found = evaluate(self.predictor, held, bootstrap)


def _compare(
    spec: ModelSpec, held: Sequence[Case], mine: Evaluation, theirs: Evaluation | None, bootstrap: int
) -> list[SliceRow]:
    """A row for all cases and one for each slice."""
    every = {OVERALL: list(range(len(held))), **slices(held)}
    scores: dict[str, Score] = {OVERALL: mine.score, **mine.slices}
    if theirs is None:
        return [SliceRow(name, scores[name]) for name in every]
    others: dict[str, Score] = {OVERALL: theirs.score, **theirs.slices}
    rows = []
    for name, members in every.items():
        ours = [mine.predictions[i].result for i in members]
        old = [theirs.predictions[i].result for i in members]
        truths = [mine.truths[i] for i in members]
        value, low, high = paired(spec, ours, old, truths, bootstrap)
        rows.append(SliceRow(name, scores[name], others[name], value, low, high))
    return rows


def _classes(mine: Evaluation, theirs: Evaluation | None) -> list[SliceRow]:
    """A row for each class and for whatever else `per_class` gives; both versions, without a difference."""
    others = theirs.slices if theirs else {}
    return [SliceRow(name, found, others.get(name)) for name, found in mine.slices.items() if name.startswith("class=")]


def _golden(side: _Side) -> Reason:
    expected = "the answers recorded at export"
    try:
        count = side.predictor.check_golden()
    except BundleError as error:
        return Reason("golden samples", False, error.found, error.expected or expected)
    return Reason("golden samples", True, f"{count} of {count} as recorded", expected)


def _absolute(spec: ModelSpec, bundle: Bundle, score: Score) -> list[Reason]:
    """The floor and the budgets."""
    metric, budget, chosen = spec.metric, spec.budget, bundle.manifest.chosen
    size = size_mb(bundle.path / bundle.manifest.network)
    side = "at least" if metric.higher_is_better else "at most"
    return [
        Reason(
            "metric floor",
            metric.better_by(score.value, metric.floor) >= 0,
            f"{metric.title} {score.value:.4f} ({score.low:.4f} to {score.high:.4f})",
            f"{side} {metric.floor:g}",
        ),
        Reason(
            "latency budget",
            chosen.p50_ms <= budget.latency_ms,
            f"{chosen.p50_ms:.1f} ms, p50, {chosen.engine} {chosen.numerics}",
            f"at most {budget.latency_ms:g} ms",
        ),
        Reason("size budget", size <= budget.size_mb, f"{size:.1f} MB", f"at most {budget.size_mb:g} MB"),
    ]


def _no_loss(spec: ModelSpec, rows: Sequence[SliceRow]) -> Reason:
    """All cases together may not lose more than the budget allows. A slice may not either, beyond chance: of few cases
    one or two are more than the budget, and of a dozen slices one would refuse nearly every version."""
    allowed = spec.budget.metric_loss
    lost = []
    for row in rows:
        difference, high = row.difference or 0.0, row.high or 0.0
        if difference < -allowed and (row.name == OVERALL or high < 0):
            lost.append(f"{row.name} lost {-difference:.4f}")
    worst = min(rows, key=lambda row: row.difference or 0.0)
    found = "; ".join(lost) or f"worst slice {worst.name}: {worst.difference:+.4f}"
    expected = f"not worse than the champion by more than {allowed:g}; in a slice, beyond chance (interval below 0)"
    return Reason("no slice lost", not lost, found, expected)


def _win(spec: ModelSpec, rows: Sequence[SliceRow], must_win_on: str | None) -> Reason:
    """Better overall, or on the slice that it was made for."""
    name = must_win_on or OVERALL
    row = next((row for row in rows if row.name == name), None)
    if row is None or row.difference is None or row.low is None or row.high is None:
        return Reason(f"better on {name}", False, "no held-out cases of it", "held-out cases of that slice")
    found = f"{spec.metric.title} {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
    if must_win_on:
        return Reason(f"better on {name}", row.low > 0, found, "better beyond chance (95 % interval above 0)")
    return Reason("better than the champion", row.difference > 0, found, "better on all held-out cases together")


def _validation(stage: Stage) -> dict[str, Any]:
    """What the data checks found, as their stage wrote it."""
    try:
        said = json.loads((stage.folder("validation") / "result.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def _data(validation: dict[str, Any]) -> list[Reason]:
    passed = validation.get("valid")
    if passed is None:
        return []
    return [Reason("data checks", bool(passed), "passed" if passed else "failed", "every check of the data set passes")]


def _pictures(spec: ModelSpec, held: Sequence[Case], mine: Evaluation, theirs: Evaluation | None) -> dict[str, bytes]:
    """The cases on which the two differ most; without a champion, the worst ones."""
    ours = mine.per_case["score"].to_numpy()
    key = -abs(ours - theirs.per_case["score"].to_numpy()) if theirs else spec.metric.better_by(1, 0) * ours
    pictures = {}
    for row in key.argsort(kind="stable")[:PICTURES]:
        for label, side in (("champion", theirs), ("challenger", mine)):
            if side is None:
                continue
            one = side.predictions[row]
            caption = f"{held[row].id}, {label}: {spec.metric.title} {side.per_case['score'][row]:.3f}"
            pictures[caption] = spec.render.picture(one.sample, one.result, mine.truths[row])
    return pictures
