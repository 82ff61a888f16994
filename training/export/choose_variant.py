"""Which engine and numerics serve: by measurement, within the model's budget."""

from __future__ import annotations

from collections.abc import Sequence

from registry.contract.spec import ModelSpec
from registry.core.runtime import Engine
from registry.versions.bundle import Variant

SERVING: tuple[Engine, ...] = ("openvino", "onnxruntime")
SAME_LATENCY = 0.05  # latencies closer than this are not told apart by a few rounds; the better metric then decides


def choose(spec: ModelSpec, variants: Sequence[Variant], dense: Variant) -> tuple[Variant, ...]:
    """Marks one variant as chosen and says of each why, or why not.

    Chosen is the fastest one that an engine of ours serves, that loses at most `budget.metric_loss` against `dense` and
    is within `budget.latency_ms` and `budget.size_mb`. If none is within the latency and size budget, the fastest
    within the loss; the gate will have its say.
    """
    verdicts = [_verdict(spec, variant, dense) for variant in variants]
    able = [v for v, (keeps, fits, _) in zip(variants, verdicts, strict=True) if keeps and fits]
    able = able or [v for v, (keeps, _, _) in zip(variants, verdicts, strict=True) if keeps]
    best = _pick(spec, able)
    return tuple(
        variant.model_copy(update={"chosen": variant is best, "why": _why(variant, best, said)})
        for variant, (_, _, said) in zip(variants, verdicts, strict=True)
    )


def _verdict(spec: ModelSpec, variant: Variant, dense: Variant) -> tuple[bool, bool, str]:
    """Whether it keeps the metric, whether it fits the budget, and what speaks against it."""
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
