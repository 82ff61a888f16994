"""No page, no traffic: what the gate did not grant is released with a reason, which stays, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import BadInput, Refused
from registry.core.settings import settings
from registry.versions.decision import Decision
from serving.guard.pages import page_of
from serving.releases import deploy, endpoints, grants, history, orders, packaging, store
from serving.releases.plans import Kind, Plan
from tests.bundles import MODEL
from tests.databases import own_database
from tests.serving.controlled import Numbered

DIGEST = "d" * 64
PAGE = Decision(MODEL, 2, 1, True, "a test", "why", "Dice", "data", ())


@pytest.fixture(autouse=True)
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    with own_database(tmp_path / "var" / "visionloop.db"):
        yield tmp_path
    settings.cache_clear()


def _decided(granted: bool, digest: str = DIGEST, **other: Any) -> None:
    page = replace(PAGE, granted=granted)
    said = {**page.to_json(), "digest": digest, **other}
    folder = settings().var / "decisions" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps(said))


def _bento(number: int, digest: str = DIGEST) -> str:
    """The tag of a Bento that holds a bundle; nothing else of it is there."""
    tag = f"{MODEL}:{number}-abc"
    source = packaging.bento_folder(tag) / "src"
    source.mkdir(parents=True)
    (source / packaging.RELEASE).write_text(json.dumps({"model": MODEL, "version": number, "digest": digest}))
    return tag


@pytest.mark.parametrize(
    ("decisions", "granted"),
    [
        ([], False),
        ([{"granted": True}], True),
        ([{"granted": False}], False),
        ([{"granted": True, "digest": "e" * 64}], False),  # the same number, in another registry
        ([{"granted": True, "challenger": 7}], True),
        ([{"granted": True, "kind": "release"}], False),
        ([{"granted": True, "created": "2026-01-02"}, {"granted": False, "created": "2026-01-01"}], True),
        ([{"granted": True, "created": "2026-01-01"}, {"granted": False, "created": "2026-01-02"}], False),
    ],
)
def test_the_word_on_a_bundle_is_the_latest_decision_about_its_digest(
    decisions: list[dict[str, Any]], granted: bool
) -> None:
    for one in decisions:
        _decided(**one)
    (settings().var / "decisions" / MODEL).mkdir(parents=True, exist_ok=True)
    (settings().var / "decisions" / MODEL / "half.json").write_text('{"granted": tr')
    assert grants.answer_for(MODEL, packaging.digest_of(_bento(2))).granted == granted


def test_a_bento_whose_bundle_is_unknown_has_no_word() -> None:
    _decided(granted=True, digest="")
    assert not grants.answer_for(MODEL, packaging.digest_of(f"{MODEL}:2-gone")).granted


@pytest.mark.parametrize("kind", ["all", "canary", "ab"])
@pytest.mark.parametrize("refused", [True, False])
def test_what_the_gate_did_not_grant_gets_no_request_without_a_reason(kind: Kind, refused: bool) -> None:
    _live()
    if refused:
        _decided(granted=False)
    with pytest.raises(Refused, match="version 2 refused" if refused else "the gate was never asked") as caught:
        _release(kind, "")
    assert caught.value.exit_code == 7
    assert f"`visionloop {f'decisions {MODEL}@2' if refused else f'promote {MODEL} 2'}`" in caught.value.fix
    assert "--anyway REASON" in caught.value.fix
    with pytest.raises(BadInput, match="no reason"):
        _release(kind, " ")
    assert not orders.open_orders()


def test_what_the_gate_granted_needs_no_reason_and_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _live()
    _decided(granted=True)
    placed = _placed(monkeypatch, lambda: _release("all", "because"))
    assert placed.anyway == ""


def test_a_reason_stands_with_the_service_in_the_history_and_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    _live()
    placed = _placed(monkeypatch, lambda: _release("canary", "the gate's data is old"))
    endpoints.announce(MODEL, 2, "http://127.0.0.1:9", placed.tag, anyway=placed.anyway)
    plan = orders.carry_out(placed)
    assert plan is not None
    assert endpoints.announced(MODEL)[MODEL, 2].anyway == "the gate's data is old"
    assert history.events(MODEL)[0].why == "a try; anyway: the gate's data is old"
    page = page_of(plan, [], granted=True, verdict="took over", summary="it took over", who="the guard")
    assert [(one.passed, one.found) for one in page.reasons] == [(False, "released anyway: the gate's data is old")]
    monkeypatch.setattr(deploy, "second_is_ready", lambda plan: True)
    assert deploy.promote(MODEL).why == "anyway: the gate's data is old", "reason enough for its last step"


def test_copies_need_no_reason_and_their_promotion_does(monkeypatch: pytest.MonkeyPatch) -> None:
    _live()
    placed = _placed(monkeypatch, lambda: _release("shadow", ""))
    endpoints.announce(MODEL, 2, "http://127.0.0.1:9", placed.tag)
    orders.carry_out(placed)
    monkeypatch.setattr(deploy, "second_is_ready", lambda plan: True)
    with pytest.raises(Refused, match="never asked about version 2"):
        deploy.promote(MODEL)
    assert deploy.promote(MODEL, anyway="looked well").live == 2
    assert endpoints.announced(MODEL)[MODEL, 2].anyway == "looked well"


def _live() -> None:
    endpoints.announce(MODEL, 1, "http://127.0.0.1:9", _bento(1, "1" * 64))
    store.switch(MODEL, 1)


def _release(kind: Kind, anyway: str) -> None:
    tag = f"{MODEL}:2-abc"
    if not packaging.digest_of(tag):
        _bento(2)
    version = Numbered(MODEL, 2)
    if kind == "all":
        deploy.roll_out(version, tag, why="a try", anyway=anyway)
    else:
        plan = Plan(MODEL, kind, 1, 2, share=0 if kind == "shadow" else 10)
        deploy.begin(plan, version, tag, why="a try", anyway=anyway)


def _placed(monkeypatch: pytest.MonkeyPatch, release: Any) -> Any:
    """The order that a release places; nobody carries it out, and nobody waits."""
    placed: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(orders, "wait", lambda order, say: placed.append(order))
        release()
    (one,) = placed
    return one


def test_a_page_is_read_again_only_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, loads = [], json.loads
    monkeypatch.setattr(grants.json, "loads", lambda text: reads.append(1) or loads(text))  # type: ignore[attr-defined]
    _decided(True)
    assert [grants.answer_for(MODEL, DIGEST).granted for _ in range(3)] == [True] * 3
    assert len(reads) == 1
    (page,) = (settings().var / "decisions" / MODEL).iterdir()
    page.write_text(json.dumps({**loads(page.read_text()), "granted": False, "summary": "another"}))
    assert not grants.answer_for(MODEL, DIGEST).granted
    assert len(reads) == 2
