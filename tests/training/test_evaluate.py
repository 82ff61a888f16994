"""Scores on held-out cases, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from registry import catalog
from registry.bundle import Score
from registry.media import Case
from registry.vision.classification import Ranking
from training.evaluate import resamples, slice_scores


def test_every_class_has_an_interval_of_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, asked = catalog.get("suspect_classification"), []
    first, second, third = spec.classes[:3]
    truths = [first] * 6 + [second] * 6 + [third]
    named = [first] * 6 + [second, first] * 3 + [third]
    cases = [Case(str(n), "val", "starter", Path("none"), truth) for n, truth in enumerate(truths)]
    results = [Ranking(spec.classes, np.array([one == name for one in spec.classes], np.float32)) for name in named]
    per_class = spec.score.per_class

    def counted(results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
        asked.append(per_class(results, truths))
        return asked[-1]

    monkeypatch.setattr(spec.score, "per_class", counted)
    found = slice_scores(spec, cases, results, truths, bootstrap=50)
    assert len(asked) == 51  # however many classes there are
    assert set(found) == {"origin=starter", *(f"class={name}" for name in (first, second, third))}
    drawn = [
        per_class([results[i] for i in rows], [truths[i] for i in rows])[second] for rows in resamples(len(cases), 50)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert found[f"class={second}"] == Score(value=2 / 3, low=low, high=high, cases=len(cases))
    assert low < 2 / 3 < high
    assert any(third not in one for one in asked)
    assert found[f"class={third}"] == Score(
        value=1, low=1, high=1, cases=len(cases)
    )  # a resample without it says nothing of it
