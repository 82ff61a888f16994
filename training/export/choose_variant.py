"""Chooses the engine and the numeric type that serve, by measurement, within the model's budget."""

from __future__ import annotations

from collections.abc import Sequence

from registry.contract.spec import ModelSpec
from registry.core.errors import VisionloopError
from registry.core.runtime import Engine
from registry.versions.bundle import Variant

SERVING: tuple[Engine, ...] = ("openvino", "onnxruntime")
SAME_LATENCY = 0.05  # a few rounds cannot tell closer latencies apart; the better metric then decides


def choose(spec: ModelSpec, variants: Sequence[Variant], dense: Variant) -> tuple[Variant, ...]:
    """Marks one variant as chosen, and gives each the reason.

    The chosen one is the fastest that a serving engine runs, that loses at most `budget.metric_loss` against `dense`,
    and that is within `budget.latency_ms` and `budget.size_mb`. If none is within the latency and size budgets, it is
    the fastest within the loss; the gate then judges it.

    Raises:
        VisionloopError: every exported variant loses more than `budget.metric_loss`.
    """
    verdicts = [_verdict(spec, variant, dense) for variant in variants]
    able = [v for v, (keeps, fits, _) in zip(variants, verdicts, strict=True) if keeps and fits]
    able = able or [v for v, (keeps, _, _) in zip(variants, verdicts, strict=True) if keeps]
    if not able:
        raise VisionloopError(
            f"every exported variant of {spec.name} loses too much: "
            + "; ".join(f"{v.name} {why}" for v, (_, _, why) in zip(variants, verdicts, strict=True) if why),
            expected=f"at most {spec.budget.metric_loss:g} {spec.metric.title} lost to export and quantisation",
            fix=f"train longer, or raise metric_loss in the budget of registry/models/{spec.name}",
        )
    best = _pick(spec, able)
    return tuple(
        variant.model_copy(update={"chosen": variant is best, "why": _why(variant, best, against)})
        for variant, (_, _, against) in zip(variants, verdicts, strict=True)
    )


def _verdict(spec: ModelSpec, variant: Variant, dense: Variant) -> tuple[bool, bool, str]:
    """(keeps the metric, fits the latency and size budgets, what speaks against it)."""
    budget = spec.budget
    lost = -spec.metric.better_by(variant.score.value, dense.score.value)
    against = []
    if variant.engine not in SERVING:
        return False, False, "for comparison only"
    keeps = lost <= budget.metric_loss
    if not keeps:
        against.append(f"loses {lost:.4f} {spec.metric.title} (allowed {budget.metric_loss:g})")
    slow = variant.p50_ms > budget.latency_ms
    if slow:
        against.append(f"takes {variant.p50_ms:.1f} ms (allowed {budget.latency_ms:g})")
    big = variant.size_mb > budget.size_mb
    if big:
        against.append(f"has {variant.size_mb:.1f} MB (allowed {budget.size_mb:g})")
    return keeps, not slow and not big, "; ".join(against)


def _pick(spec: ModelSpec, able: Sequence[Variant]) -> Variant:
    fastest = min(able, key=lambda variant: variant.p50_ms)
    near = [variant for variant in able if variant.p50_ms <= fastest.p50_ms * (1 + SAME_LATENCY)]
    return max(near, key=lambda variant: spec.metric.better_by(variant.score.value, 0.0))


def _why(variant: Variant, best: Variant, against: str) -> str:
    if variant is best:
        return "fastest within the allowed loss" + (f"; but {against}" if against else "")
    if against:
        return against
    return f"{variant.p50_ms / best.p50_ms:.2f} x the time of the chosen one"
