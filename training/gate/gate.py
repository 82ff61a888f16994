"""The gate: whether a version may become champion. It evaluates both versions again, on the same test cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.contract.spec import ModelSpec
from registry.core.media import Case
from registry.versions import learned
from registry.versions.bundle import ORIGIN_SLICE, Bundle
from registry.versions.decision import ENOUGH, Decision, Reason, SliceRow
from registry.versions.mlflow_registry import Version
from training.gate import rules
from training.gate.comparison import OVERALL, Comparison
from training.workspace.intervals import counted, slices, witnesses
from training.workspace.scoring import Evaluation, decoded, evaluate
from training.workspace.workspace import Workspace, open_workspace

PICTURES = 3
EQUAL = 1e-6


@dataclass(frozen=True)
class Best:
    """The best champion so far on some slices.

    Attributes:
        numbers: slice (`all`, or an origin) -> the version that was the best on it, from the champion's tag.
        bundles: version -> its bundle, if the registry still has it; without the champion's own.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    bundles: Mapping[int, Bundle] = field(default_factory=dict)


def decide(
    challenger: Version,
    challenger_bundle: Bundle,
    champion: Version | None,
    champion_bundle: Bundle | None,
    *,
    asked_by: str,
    why: str,
    must_win_on: str | None = None,
    best: Best | None = None,
) -> Decision:
    """The decision: granted if every rule of `training.gate.rules` passes. The caller saves the page.

    Every version needs test cases that it did not learn from, passing golden samples, the metric floor, the latency and
    size budgets, and passing data checks. Against a champion it must not be worse on all cases, lose no slice, not be
    worn down by many small losses, and be better: on the slice `must_win_on` (e.g. `origin=drift-bias-field`) if one is
    given, else on all cases, or as good and lighter. A version with the champion's own network must answer alike and
    bring something new instead.

    Raises:
        NotFound, DataError: there are no test cases.
        BundleError: a network cannot be loaded.
    """
    judged = _judge(challenger, challenger_bundle, champion, champion_bundle, must_win_on, best or Best())
    spec, mine, theirs = judged.mine.workspace.spec, judged.mine.evaluation, judged.theirs
    return Decision(
        model=spec.name,
        challenger=challenger.number,
        champion=champion.number if champion else None,
        granted=all(reason.passed for reason in judged.reasons),
        asked_by=asked_by,
        why=why,
        metric=spec.metric.title,
        data_hash=judged.mine.workspace.data_hash,
        reasons=tuple(judged.reasons),
        slices=tuple(judged.rows),
        variants=challenger_bundle.manifest.variants,
        pictures=_pictures(spec, judged.mine.cases, mine, theirs),
        validation=judged.validation,
        classes=tuple(_classes(mine, theirs)),
        digest=challenger.digest,
        champion_digest=champion.digest if champion else "",
        must_win_on=must_win_on,
        same_network=judged.same_network,
        best=judged.marks,
        group_by=tuple(filter(None, map(str.strip, spec.tags.get("groups", "").split(",")))),
    )


@dataclass
class _Judged:
    """What the rules found. `marks`: slice -> the version that is now the best on it."""

    mine: _Evaluated
    validation: dict[str, Any]
    reasons: list[Reason]
    rows: list[SliceRow]
    marks: dict[str, int]
    theirs: Evaluation | None = None
    same_network: bool = False


def _judge(
    challenger: Version,
    challenger_bundle: Bundle,
    champion: Version | None,
    champion_bundle: Bundle | None,
    must_win_on: str | None,
    best: Best,
) -> _Judged:
    workspace = open_workspace(challenger.model)
    spec, validation = workspace.spec, _validation(workspace)
    others = [bundle for bundle in (champion_bundle, *best.bundles.values()) if bundle is not None]
    cases, reasons = _test_cases(workspace, challenger_bundle, champion, others)
    mine = _Evaluated(workspace, challenger_bundle, cases)
    reasons += [rules.golden(mine.predictor), rules.floor(spec, mine.evaluation.score)]
    reasons += [*rules.budgets(spec, challenger_bundle), rules.data(spec, validation, workspace.data_hash)]
    rows = [SliceRow(name, mine.scores[name]) for name in _members(cases)]
    judged = _Judged(mine, validation, reasons, rows, dict.fromkeys(_marked(cases), challenger.number))
    if champion is not None and champion_bundle is not None:
        _against_champion(judged, _Evaluated(workspace, champion_bundle, cases), champion.number, must_win_on, best)
    return judged


def _against_champion(judged: _Judged, theirs: _Evaluated, champion: int, must_win_on: str | None, best: Best) -> None:
    """Adds what comparing with the champion finds."""
    mine, spec = judged.mine, judged.mine.workspace.spec
    compared = mine.against([one.result for one in theirs.evaluation.predictions])
    judged.theirs, judged.same_network = theirs.evaluation, _same(mine, theirs)
    judged.rows = compared.rows(mine.scores, theirs.scores)
    history = _history(mine, theirs, champion, best, judged.marks)
    if judged.same_network and not must_win_on:
        one_file = mine.bundle.manifest.network_digest == theirs.bundle.manifest.network_digest
        light = "" if one_file else _lighter(mine, theirs)
        new = rules.something_new(mine.bundle, theirs.bundle, mine.workspace.data_hash, light)
        judged.reasons += [rules.alike(len(mine.cases)), new]
        return
    won, as_good = bool(must_win_on) or compared.better(OVERALL), rules.not_worse(spec, compared)
    judged.reasons += [
        as_good,
        rules.no_slice_lost(spec, compared),
        *rules.not_worn_down(spec, *history),
        rules.better(spec, compared, must_win_on, _lighter(mine, theirs) if as_good.passed and not won else ""),
    ]


class _Evaluated:
    """A version and its evaluation on the test cases."""

    def __init__(self, workspace: Workspace, bundle: Bundle, cases: Sequence[Case]) -> None:
        self.workspace, self.bundle, self.cases = workspace, bundle, cases
        self.predictor = workspace.predictor(bundle)
        self.evaluation = evaluate(self.predictor, cases, workspace.evaluating.bootstrap)
        self.scores = {OVERALL: self.evaluation.score, **self.evaluation.slices}

    def against(self, results: Sequence[Any]) -> Comparison:
        """The comparison with another version's results on the same cases."""
        return Comparison(
            self.workspace.spec,
            [one.result for one in self.evaluation.predictions],
            results,
            self.evaluation.truths,
            _members(self.cases),
            self.workspace.evaluating.bootstrap,
            [case.group for case in self.cases],
        )

    def value(self, name: str) -> float:
        return self.scores[name].value


def _members(held: Sequence[Case]) -> dict[str, list[int]]:
    return {OVERALL: list(range(len(held))), **slices(held)}


def _marked(held: Sequence[Case]) -> list[str]:
    """The slices for which the best champion so far is remembered."""
    return [
        name
        for name, rows in _members(held).items()
        if (name == OVERALL or ORIGIN_SLICE in name) and witnesses([held[row] for row in rows]) >= ENOUGH
    ]


def _test_cases(
    workspace: Workspace, bundle: Bundle, champion: Version | None, others: Sequence[Bundle]
) -> tuple[list[Case], list[Reason]]:
    """The test cases to compare on, and the rules about those that a version learned from."""
    held, spec = workspace.split("test"), workspace.spec
    record, records = learned.of(bundle), [learned.of(other) for other in others]
    seen = record.among(held)
    dropped = {name for one in records for name in one.among(held)} - {*seen}
    left = [case for case in held if case.id not in dropped]
    remain, unit = witnesses(left), counted([case.group for case in held])
    reasons = [rules.new_to_version(spec, seen, len(held), recorded=record.recorded)]
    reasons += rules.enough(remain, unit, sorted(dropped), champion.number if champion else 0)
    return (left if remain >= ENOUGH else held), reasons


def _same(mine: _Evaluated, theirs: _Evaluated) -> bool:
    """Whether both have the same network and the same score on every case."""
    if not rules.same_network(mine.bundle, theirs.bundle):
        return False
    ours, old = (side.evaluation.per_case["score"].to_numpy() for side in (mine, theirs))
    return bool(np.allclose(ours, old, rtol=0, atol=EQUAL, equal_nan=True))


def _lighter(mine: _Evaluated, theirs: _Evaluated) -> str:
    """As `rules.lighter`. Called only where it decides, because timing both takes a second or two."""
    return rules.lighter(mine.bundle, theirs.bundle, mine.workspace.settings.threads)


def _history(
    mine: _Evaluated, theirs: _Evaluated, champion: int, best: Best, marks: dict[str, int]
) -> tuple[dict[str, tuple[int, Comparison]], list[str]]:
    """Comparisons with the best champions so far, by slice, and in words those that are gone. Moves `marks` to the
    version that is the best now; of equal versions the older one stays."""
    compared: dict[int, Comparison] = {}
    for number in {best.numbers[name] for name in marks if name in best.numbers} & {*best.bundles}:
        predictor = mine.workspace.predictor(best.bundles[number])
        compared[number] = mine.against([predictor(case.input.read_bytes()).result for case in mine.cases])
    better_by, found, gone = mine.workspace.spec.metric.better_by, {}, []
    for name in marks:
        number, ahead = champion, better_by(mine.value(name), theirs.value(name))
        before = best.numbers.get(name, champion)
        if before in compared:
            found[name] = (before, compared[before])
            if compared[before].difference(name).value <= ahead:
                number, ahead = before, compared[before].difference(name).value
        elif before != champion:
            gone.append(f"version {before}, the best on {name}, is no longer in the registry")
        if ahead <= 0:
            marks[name] = number
    return found, gone


def _classes(mine: Evaluation, theirs: Evaluation | None) -> list[SliceRow]:
    """A row for each class and for whatever else `per_class` gives; both versions, without a difference."""
    others = theirs.slices if theirs else {}
    return [SliceRow(name, found, others.get(name)) for name, found in mine.slices.items() if name.startswith("class=")]


def _validation(workspace: Workspace) -> dict[str, Any]:
    """What the data checks found, as their stage wrote it."""
    try:
        result = json.loads((workspace.folder("validation") / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


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
            pictures[caption] = spec.render.picture(decoded(spec, held[row]), one.result, mine.truths[row])
    return pictures
