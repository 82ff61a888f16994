"""How often the gate promotes a version that is no better: 200 simulated ones for each model's metric.

`pytest -m bench -s tests/benchmarks/test_luck.py` prints the figures of docs/benchmarks.md. It looks at no clock.
"""

from __future__ import annotations

import pytest

from registry.contract import catalog
from tests.training.equal_versions import promoted

VERSIONS = 200
ROUNDS = 300
CASES = {"few": (12, 1), "starter data": (60, 1), "patients": (60, 5)}
"""Test cases, and how many of them are of one patient."""

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(("cases", "each"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("model", catalog.names())
def test_of_200_equal_versions_at_most_5_percent_are_promoted(model: str, cases: int, each: int) -> None:
    count = sum(promoted(model, cases, seed, ROUNDS, each) for seed in range(VERSIONS))
    metric = catalog.get(model).metric.title
    print(f"\n{metric}, {cases // each} x {each} cases: {count} of {VERSIONS} promoted ({count / VERSIONS:.1%})")
    assert count <= 0.05 * VERSIONS
