"""The rules of the gate. Each checks one thing and returns what it found and what it expected (`gate.decide`).

docs/releases.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from registry.contract.spec import ModelSpec
from registry.core.errors import BundleError
from registry.core.runtime import open_session
from registry.versions.bundle import ASSETS, REFERENCE, WEIGHTS, Bundle, Score
from registry.versions.decision import ENOUGH, Reason
from registry.versions.predictor import Predictor
from training.export.latency import latencies
from training.export.onnx_export import size_mb
from training.gate.comparison import CHANCE, OVERALL, Comparison
from training.workspace.intervals import counted

LIGHTER = 0.9
"""A version that is as good may be promoted if it has at most this share of the champion's size or latency."""

ROUNDS = 7
NAMED = 3


def new_to_version(spec: ModelSpec, seen: Sequence[str], cases: int, *, recorded: bool) -> Reason:
    """`seen`: ids of test cases that the version learned from, or that chose between its variants."""
    expected = "no test case among what it learned from (docs/data.md)"
    if not recorded:
        return Reason("test cases new to it", True, "what it learned from is not recorded in its bundle", expected)
    found = f"{len(seen)} of {cases} are not" + (f": {_named(seen)}" if seen else "")
    if seen:
        expected += f"; `visionloop run {spec.name} --from scratch` trains without them"
    return Reason("test cases new to it", not seen, found, expected)


def enough(left: int, unit: str, dropped: Sequence[str], champion: int) -> list[Reason]:
    """Test cases that the champion, or an earlier best one, learned from are left out of the comparison.

    Args:
        left: how many `unit` (test cases, or groups of them) remain.
    """
    if not dropped:
        return []
    words = f"{len(dropped)} test cases are left out, an earlier champion learned from them: {_named(dropped)}"
    expected = (
        f"at least {ENOUGH} {unit} that are new to both versions; import the data with the split that champion "
        f"{champion} was trained on, or add cases"
    )
    return [Reason("test cases new to the champion", left >= ENOUGH, f"{words}; {left} remain", expected)]


def golden(predictor: Predictor) -> Reason:
    expected = "the answers recorded at export"
    try:
        count = predictor.check_golden()
    except BundleError as error:
        return Reason("golden samples", False, error.found, error.expected or expected)
    return Reason("golden samples", True, f"{count} of {count} as recorded", expected)


def floor(spec: ModelSpec, score: Score) -> Reason:
    metric = spec.metric
    side = "at least" if metric.higher_is_better else "at most"
    return Reason(
        "metric floor",
        metric.better_by(score.value, metric.floor) >= 0,
        f"{metric.title} {score.value:.4f} ({score.low:.4f} to {score.high:.4f})",
        f"{side} {metric.floor:g}",
    )


def budgets(spec: ModelSpec, bundle: Bundle) -> list[Reason]:
    budget, chosen = spec.budget, bundle.manifest.chosen
    size = size_mb(bundle.path / bundle.manifest.network)
    speed = f"{chosen.p50_ms:.1f} ms, p50, {chosen.engine} {chosen.numerics}"
    return [
        Reason("latency budget", chosen.p50_ms <= budget.latency_ms, speed, f"at most {budget.latency_ms:g} ms"),
        Reason("size budget", size <= budget.size_mb, f"{size:.1f} MB", f"at most {budget.size_mb:g} MB"),
    ]


def data(spec: ModelSpec, validation: Mapping[str, Any], data_hash: str) -> Reason:
    """`validation`: what the stage `validate` wrote; {} where it wrote nothing. `data_hash`: of the data that is there.

    A result of code that recorded no hash counts.
    """
    rule, expected = "data checks", "every check of the data set passes"
    if "valid" not in validation:
        run = f"`dvc repro validate@{spec.name}` checks them, and so does `visionloop run {spec.name}`"
        return Reason(rule, False, "the data of this version were not checked", f"{expected}; {run}")
    checked = validation.get("data_hash", data_hash)
    if checked != data_hash:
        found = f"those of other data: {checked} was checked, {data_hash} is there"
        return Reason(rule, False, found, f"{expected}; `visionloop run {spec.name}` checks it")
    passed = validation["valid"] is True
    breaches = [one["says"] for one in validation.get("checks", ()) if not (one["passed"] or one["warning"])]
    return Reason(rule, passed, "passed" if passed else "; ".join(["failed", *breaches[:NAMED]]), expected)


def not_worse(spec: ModelSpec, compared: Comparison) -> Reason:
    """On all cases: the whole interval, not only the difference, must be above the allowed loss."""
    allowed, found = spec.budget.metric_loss, compared.difference(OVERALL)
    return Reason(
        "not worse than the champion",
        found.low > -allowed,
        difference_in_words(spec, compared, OVERALL),
        f"on all test cases: the 95 % interval above {-allowed:g}",
    )


def no_slice_lost(spec: ModelSpec, compared: Comparison) -> Reason:
    """No slice may lose more than the budget, beyond chance. Of a dozen slices some always lose a little."""
    allowed = spec.budget.metric_loss
    slices, words = [name for name in compared.members if name != OVERALL], counted(compared.groups)
    judged = [name for name in slices if compared.witnesses(name) >= ENOUGH]
    lost = [
        f"{name} lost: {difference_in_words(spec, compared, name)}" for name in judged if compared.lost(name, allowed)
    ]
    found = "; ".join(lost)
    if not lost and judged:
        worst = min(judged, key=lambda name: compared.difference(name).value)
        found = f"worst slice {worst}: {compared.difference(worst).value:+.4f}"
    few = [f"{name} ({compared.witnesses(name)})" for name in slices if name not in judged]
    if few:
        found = "; ".join(filter(None, [found, f"not judged, fewer than {ENOUGH} {words}: {_named(few)}"]))
    expected = f"no slice of {ENOUGH} {words} or more lost more than {allowed:g}, beyond chance (interval below 0)"
    return Reason("no slice lost", not lost, found or "no slices", expected)


def not_worn_down(spec: ModelSpec, best: Mapping[str, tuple[int, Comparison]], gone: Sequence[str]) -> list[Reason]:
    """Compares with the best champion so far, on all cases and on each origin, because small losses in a row add up.

    Args:
        best: slice -> the version that was the best there, and the comparison with it.
        gone: versions that are no longer in the registry, in words.
    """
    if not best and not gone:
        return []
    allowed = spec.budget.metric_loss
    lost: list[str] = []
    fine: list[str] = []
    for name, (number, compared) in best.items():
        words = f"{name}, version {number}: {compared.difference(name).value:+.4f}"
        bad = compared.difference(name).low <= -allowed if name == OVERALL else compared.lost(name, allowed)
        (lost if bad else fine).append(words)
    found = "; ".join([*(lost or fine), *gone])
    expected = f"against the best champion so far: on all cases the interval above {-allowed:g}, no origin lost"
    return [Reason("not worn down", not lost, found, expected)]


def better(spec: ModelSpec, compared: Comparison, must_win_on: str | None, lighter: str) -> Reason:
    """Better on the slice that it was made for; without one, better on all cases or lighter.

    Args:
        lighter: how it is smaller or faster than the champion, in words; "" if it is neither.
    """
    name = must_win_on or OVERALL
    if compared.witnesses(name) < ENOUGH:
        found = f"{compared.witnesses(name)} {counted(compared.groups)} of it"
        return Reason(f"better on {name}", False, found, f"at least {ENOUGH}: fewer cannot tell a win from chance")
    won, found = compared.better(name), difference_in_words(spec, compared, name)
    if not won and compared.difference(name).value > 0:
        found += f"; two equal versions differ as much {compared.chance(name, 'better'):.1%} of the time"
    asked = f"better beyond chance: the 95 % interval above 0, and chance at most {CHANCE:.1%}"
    if must_win_on:
        return Reason(f"better on {name}", won, found, asked)
    if lighter:
        return Reason("better than the champion", True, f"{lighter}; {found}", f"{asked}; or as good and lighter")
    return Reason("better than the champion", won, found, f"{asked}; or as good, and {LIGHTER:.0%} of its size or time")


def lighter(mine: Bundle, theirs: Bundle, threads: int) -> str:
    """How `mine` is smaller or faster, in words; "" if it is neither. Both are timed now, side by side."""
    sizes = [size_mb(bundle.path / bundle.manifest.network) for bundle in (mine, theirs)]
    if sizes[0] <= LIGHTER * sizes[1]:
        return f"smaller: {sizes[0]:.2f} MB instead of {sizes[1]:.2f} MB"
    if mine.manifest.input_shape != theirs.manifest.input_shape:
        return ""  # their inputs differ, so times cannot be compared
    sessions = {
        name: open_session(b.path / b.manifest.network, b.manifest.engine, b.manifest.numerics, threads)
        for name, b in (("mine", mine), ("theirs", theirs))
    }
    found = latencies(sessions, mine.manifest.input_shape, ROUNDS)
    ours, old = found["mine"], found["theirs"]
    # Of two equal networks, one is faster in all seven rounds once in 2^7 times.
    every = all(a < b for a, b in zip(ours.rounds, old.rounds, strict=True))
    return f"faster: {ours.p50:.2f} ms instead of {old.p50:.2f} ms" if every and ours.p50 <= LIGHTER * old.p50 else ""


def same_network(mine: Bundle, theirs: Bundle) -> bool:
    """Whether both have the same files, or the same weights, with the same engine and numerics."""
    one, other = mine.manifest, theirs.manifest
    if (one.engine, one.numerics) != (other.engine, other.numerics):
        return False
    weights = one.files.get(WEIGHTS)
    return one.network_digest == other.network_digest or (weights is not None and weights == other.files.get(WEIGHTS))


def alike(cases: int) -> Reason:
    found = f"the network is the champion's, and so is the score of each of {cases} test cases"
    return Reason("as good as the champion", True, found, "equal on every test case")


def something_new(mine: Bundle, theirs: Bundle, data_hash: str, lighter: str) -> Reason:
    """A version with the champion's network and the same answers must bring something else that is new.

    Args:
        data_hash: of the data set as it is now.
        lighter: as in `better`; the same weights may be in a smaller file.
    """
    one, other = mine.manifest, theirs.manifest
    columns, before = _columns(mine), _columns(theirs)
    gained, missing = sorted(columns - before), sorted(before - columns)
    new = [lighter] if lighter else []
    new += [f"its drift reference has {_named(gained)}"] if gained else []
    if one.data_hash == data_hash != other.data_hash:
        new.append("its drift reference is of the data as it is now")
    for kind in ("thresholds", "preprocessing"):
        now, then = getattr(one, kind), getattr(other, kind)
        changed = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
        new += [f"{kind}: {name} {then.get(name)} -> {now.get(name)}" for name in changed]
    assets = [{k: v for k, v in m.files.items() if k.startswith(f"{ASSETS}/")} for m in (one, other)]
    if assets[0] != assets[1]:
        new.append("other files beside the network")
    found = "; ".join(new) or "nothing is new"
    if missing:
        found += f"; its drift reference lacks {_named(missing)}"
    expected = "a drift reference, thresholds, preprocessing or files that are new, and no statistic lost"
    return Reason("new beside the network", bool(new) and not missing, found, expected)


def _columns(bundle: Bundle) -> set[str]:
    path = bundle.path / REFERENCE
    return set(pq.read_schema(path).names) - {"case", "origin", "score"} if path.is_file() else set()


def difference_in_words(spec: ModelSpec, compared: Comparison, name: str) -> str:
    one = compared.difference(name)
    return f"{spec.metric.title} {one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
