"""Which variant serves."""

from __future__ import annotations

import pytest

from registry.contract import catalog
from registry.core.errors import VisionloopError
from registry.versions.bundle import Score, Variant
from tests.training.conftest import MODEL
from training.export.choose_variant import choose


def row(name: str, value: float, p50: float, engine: str = "openvino", size: float = 5.0) -> Variant:
    score = Score(value=value, low=value, high=value, cases=9)
    return Variant(
        name=name,
        engine=engine,
        numerics="f32",
        score=score,
        p50_ms=p50,
        p95_ms=p50,
        size_mb=size,
        macs=1,
        parameters=1,
    )


DENSE = row("dense", 0.95, 10.0, "torch")


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        pytest.param([row("a", 0.95, 5.0), row("b", 0.945, 2.0)], "b", id="the fastest within the loss"),
        pytest.param([row("a", 0.95, 5.0), row("b", 0.93, 2.0)], "a", id="not one that loses too much"),
        pytest.param([row("a", 0.95, 2.05), row("b", 0.945, 2.0)], "a", id="as good as equally fast: the better"),
        pytest.param([row("a", 0.95, 5.0), row("b", 0.95, 2.0, "torch")], "a", id="an engine that can serve"),
        pytest.param([row("a", 0.95, 5.0), row("b", 0.95, 2.0, size=99.0)], "a", id="not one over the size budget"),
        pytest.param([row("a", 0.95, 90.0), row("b", 0.5, 80.0)], "a", id="over budget rather than wrong"),
    ],
)
def test_choice(rows: list[Variant], chosen: str) -> None:
    found = choose(catalog.get(MODEL), [DENSE, *rows], DENSE)
    assert [variant.name for variant in found if variant.chosen] == [chosen]
    assert all(variant.why for variant in found)


def test_no_variant_that_keeps_the_metric_is_an_error_that_names_them() -> None:
    with pytest.raises(VisionloopError, match=r"a loses 0\.4500"):
        choose(catalog.get(MODEL), [DENSE, row("a", 0.5, 5.0)], DENSE)
