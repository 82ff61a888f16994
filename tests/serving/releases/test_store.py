"""The tables behind the router: rows that cannot be read, changes that cross each other."""

from __future__ import annotations

import pytest

from serving.releases import endpoints, store
from tests.bundles import MODEL

OTHER = "weapon_detection"

pytestmark = pytest.mark.usefixtures("database")


def _announced(model: str, *numbers: int) -> None:
    for number in numbers:
        endpoints.announce(model, number, f"http://127.0.0.1:{4000 + number}", f"{model}:{number}-x")


def test_a_field_that_plans_do_not_have_is_refused_and_changes_nothing() -> None:
    from django.core.exceptions import FieldDoesNotExist

    _announced(MODEL, 1, 2)
    before = store.switch(MODEL, 1)
    with pytest.raises(FieldDoesNotExist):
        store.change(MODEL, "canary", kind="canary", challenger=2, share=10)
    assert store.plan(MODEL) == before


@pytest.mark.parametrize(
    "bad", [{"limits": {"speed": 2}}, {"kind": "rainbow"}, {"limits": [1]}, {"steps": 5}, {"sticky": "moon"}]
)
def test_a_plan_that_cannot_be_read_is_named_and_stops_no_other_model(
    bad: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    from serving.releases.models import Release

    for model in (MODEL, OTHER):
        _announced(model, 1)
        store.switch(model, 1)
    Release.objects.filter(model=MODEL).update(**bad, revision=hash(str(bad)) % 10**6)
    for _ in range(3):
        assert [plan.model for plan in store.plans()] == [OTHER]
    assert list(store.routes()) == [OTHER]
    said = [record.getMessage() for record in caplog.records if record.name == "visionloop.releases"]
    assert len(said) == 1, "said once, not four times a second"
    assert f"the release plan of {MODEL} cannot be read" in said[0]
    store.switch(MODEL, 1)
    assert list(store.routes()) == [MODEL, OTHER], "a release writes it anew"
