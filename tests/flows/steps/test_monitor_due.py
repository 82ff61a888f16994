"""A scheduled look where nothing new came leaves no page and says what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.steps import loop
from registry.core import journal
from registry.core.settings import settings
from serving.releases import endpoints, store
from tests.bundles import MODEL
from tests.databases import own_database


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a project whose version 1 is live, and was judged a moment ago."""
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    with own_database(tmp_path / "var" / "visionloop.db"):
        from monitoring.log.models import Verdict

        endpoints.announce(MODEL, 1, "http://127.0.0.1:9", f"{MODEL}:1-x")
        store.switch(MODEL, 1)
        now = datetime.now(UTC)
        Verdict.objects.create(
            id="abcdef012345", time=now, model=MODEL, version=1, window_start=now, window_end=now, predictions=9,
            labels=0, drifted=True, action="retrain", why="it moved",
        )  # fmt: skip
        yield tmp_path / "var"
    settings.cache_clear()


def test_nothing_new_gives_no_verdict_and_no_page(var: Path) -> None:
    from monitoring.log.models import Verdict

    said = loop.monitor(MODEL)
    assert isinstance(said, str)
    assert "no new predictions and no new labels since verdict abcdef012345" in said
    assert Verdict.objects.count() == 1
    assert not (var / "reports").exists()
    assert journal.end_of_file() == 0, "the story tells of no look"
