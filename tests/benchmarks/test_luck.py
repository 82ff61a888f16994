"""How often the gate promotes a version that is no better: 200 simulated ones for each model's metric.

`pytest -m bench -s tests/benchmarks/test_luck.py` prints the figures of docs/benchmarks.md. It looks at no clock.
"""

from __future__ import annotations

import pytest

from registry import catalog
from tests.training.equal_versions import promoted

VERSIONS = 200
ROUNDS = 300
CASES = {"few": 12, "starter data": 60}

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("cases", CASES.values(), ids=CASES)
@pytest.mark.parametrize("model", catalog.names())
def test_of_200_equal_versions_at_most_5_percent_are_promoted(model: str, cases: int) -> None:
    count = sum(promoted(model, cases, seed, ROUNDS) for seed in range(VERSIONS))
    print(
        f"\n{catalog.get(model).metric.title}, {cases} cases: {count} of {VERSIONS} promoted ({count / VERSIONS:.1%})"
    )
    assert count <= 0.05 * VERSIONS
