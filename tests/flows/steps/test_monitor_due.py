"""A scheduled look where nothing new came leaves no page and says what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows import steps
from flows.cli import cli
from flows.steps import loop
from monitoring.drift.verdict import Verdict
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
        from monitoring.log.models import Verdict as Row

        endpoints.announce(MODEL, 1, "http://127.0.0.1:9", f"{MODEL}:1-x")
        store.switch(MODEL, 1)
        now = datetime.now(UTC)
        Row.objects.create(
            id="abcdef012345", time=now, model=MODEL, version=1, window_start=now, window_end=now, predictions=9,
            labels=0, drifted=True, action="retrain", why="it moved",
        )  # fmt: skip
        yield tmp_path / "var"
    settings.cache_clear()


def test_nothing_new_gives_no_verdict_and_no_page(var: Path) -> None:
    from monitoring.log.models import Verdict as Row

    said = loop.monitor(MODEL)
    assert isinstance(said, str)
    assert "no new predictions and no new labels since verdict abcdef012345" in said
    assert Row.objects.count() == 1
    assert not (var / "reports").exists()
    assert journal.end_of_file() == 0, "the story tells of no look"


def test_a_model_that_is_not_served_is_not_watched(var: Path) -> None:
    done = CliRunner().invoke(cli, ["monitor", "object_detection", "--local"])
    assert done.exit_code == 0, done.exception
    assert "object_detection is not watched: no version of it is live; `visionloop run object_detection`" in done.output
    with journal.run():
        again = loop.monitor("object_detection", last=20)
    assert "is not watched" in str(again)


def test_the_statistics_that_a_verdict_left_out_are_named_by_their_reason(tmp_path: Path) -> None:
    left_out = {"image.new": "lacks it", "image.rare": "3 rows", "prediction.new": "lacks it"}
    kinds = {"data": False}
    verdict = Verdict("0" * 12, 0.0, MODEL, 1, 9, 0, 0, False, kinds, "none", "it is calm", unwatched=left_out)
    assert steps.in_words(verdict, "page.html").splitlines() == [
        "none: it is calm",
        "not watched: image.new, prediction.new (lacks it)",
        "not watched: image.rare (3 rows)",
        "page.html",
    ]
