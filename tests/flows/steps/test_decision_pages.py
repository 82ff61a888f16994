"""Decision pages do not grow for ever, and no version that has traffic, or may get it at once, loses its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flows.orchestration import guard
from flows.steps.pages import prune_pages
from registry.core.settings import Settings, settings
from registry.versions.decision import Decision
from registry.versions.mlflow_registry import Version, Versions
from serving.releases import endpoints, grants, history
from serving.releases import store as releases
from tests.bundles import MODEL, make_tiny_bundle
from tests.databases import own_database
from tests.mlflow_stores import empty_store

LIMIT = 8
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a registry with six versions: 2 is champion after 3, 6 is the challenger."""
    folder = tmp_path_factory.mktemp("registry")
    address = empty_store(folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_ROOT", str(folder))
        patch.setenv("VISIONLOOP_MLFLOW_URI", address)
        settings.cache_clear()
        versions = Versions()
        found = [versions.register(make_tiny_bundle(folder / str(n), f"version {n}")) for n in range(1, 7)]
        for number in (3, 2):
            versions.promote(found[number - 1])
    settings.cache_clear()
    return address


@pytest.fixture
def registered(store: str, config: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Version]]:
    """The six versions, each granted long ago; 1 has all traffic."""
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", store)
    monkeypatch.setenv("VISIONLOOP_DECISION_PAGES", str(LIMIT))
    settings.cache_clear()
    with own_database(config.var / "visionloop.db"):
        endpoints.announce(MODEL, 1, NOBODY, f"{MODEL}:1-x")
        releases.switch(MODEL, 1)
        found = Versions().list(MODEL)
        for days, version in enumerate(found):
            decided(version, days=50 + days)
        yield found[::-1]


def decided(version: Version, days: float, digest: str | None = None) -> str:
    """The id of a real page about a version, so many days old."""
    made = Decision(
        model=MODEL, challenger=version.number, champion=None, granted=True, asked_by="a test", why="", metric="Dice",
        data_hash="d", reasons=(), digest=version.digest if digest is None else digest, pictures={"a": bytes(2000)},
        created=(datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds"),
    )  # fmt: skip
    page, when = made.save(), time.time() - days * 86400
    for path in (page, page.with_suffix(".json")):
        os.utime(path, (when, when))
    return made.id


def ids() -> set[str]:
    folder = settings().var / "decisions" / MODEL
    pages, said = ({path.stem for path in folder.glob(f"*.{kind}")} for kind in ("html", "json"))
    assert pages == said, "a page and its JSON leave together"
    return said


def has_word(version: Version) -> bool:
    return grants.answer_for(MODEL, version.digest).granted


def test_the_oldest_pages_leave_and_live_champion_previous_and_challenger_keep_theirs(
    registered: list[Version],
) -> None:
    newest = [
        decided(registered[4], days=hours / 24) for hours in range(60)
    ]  # version 5 is asked about again and again
    assert len(ids()) == 66
    prune_pages(MODEL)
    assert len(ids()) == LIMIT
    assert [has_word(version) for version in registered] == [True, True, True, False, True, True]
    assert newest[0] in ids()
    assert ids() & set(newest) == set(newest[: LIMIT - 4])  # live, champion, previous and challenger have the others
    prune_pages(MODEL)
    assert len(ids()) == LIMIT


def test_a_limit_below_the_versions_that_need_a_page_takes_none_of_theirs(
    registered: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONLOOP_DECISION_PAGES", "1")
    settings.cache_clear()
    prune_pages(MODEL)
    assert [has_word(version) for version in registered] == [True, True, True, False, False, True]


def test_pages_of_versions_that_are_gone_leave_by_age(registered: list[Version]) -> None:
    old, young = decided(registered[3], 91, digest="gone"), decided(registered[3], 89, digest="gone")
    there = decided(registered[3], 300)
    torn = settings().var / "decisions" / MODEL / "torn.html"  # its process died before it wrote the JSON
    torn.write_text("half")
    os.utime(torn, (time.time() - 2 * 86400,) * 2)
    prune_pages(MODEL)
    assert ids() & {old, young, there} == {young, there}
    assert not torn.exists()
    torn.write_text("being written")
    prune_pages(MODEL)
    assert torn.exists()


def test_nothing_leaves_while_registry_or_database_are_away(
    store: str, registered: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours in range(10):
        decided(registered[4], days=hours / 24)
    before = ids()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", NOBODY)
    settings.cache_clear()
    prune_pages(MODEL)
    assert ids() == before
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", store)
    settings.cache_clear()
    prune_pages(MODEL)
    assert len(ids()) == LIMIT


def test_who_writes_a_page_of_a_release_keeps_the_limit(registered: list[Version]) -> None:
    for hours in range(1, 20):
        decided(registered[4], days=hours / 24)
    page = decided(registered[0], days=0)
    said = json.loads((settings().var / "decisions" / MODEL / f"{page}.json").read_text())
    place = f"decisions/{MODEL}/{page}.html"
    releases.change(MODEL, "verdict", renewed=False, page=place, decision=said, todo={"attach": 1})
    (event,) = history.unfinished()
    guard.write_down(event.id)
    assert not history.unfinished()
    assert len(ids()) == LIMIT
    assert page in ids()
