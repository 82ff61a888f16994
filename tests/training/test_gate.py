"""Who may become champion: real bundles (an intensity threshold as a network) on scans of ellipses."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from registry import catalog
from registry.bundle import Score
from registry.decision import Decision, SliceRow
from registry.parts import Labelled
from registry.splits import Shares
from registry.versions import Version
from tests.bundles import AFFINE, make_scan, make_tiny_bundle
from training.evaluate import evaluate, spread
from training.gate import _no_loss, decide
from training.stage import open_stage

from .conftest import MODEL, enter, lay_out

GOOD, WORSE, BAD = 0.5, 0.85, 5.0

Decide = Callable[..., Decision]


def labelled(seed: int) -> Labelled:
    """An ellipse and its exact mask."""
    shape = (64, 48) if seed % 3 else (64, 48, 3)
    body = make_scan(seed, shape, noise=0.02)
    voxels = nib.Nifti1Image.from_bytes(gzip.decompress(body)).get_fdata()
    truth = nib.Nifti1Image((voxels > 500).astype(np.uint8), AFFINE)
    return Labelled(f"case-{seed}", body, gzip.compress(truth.to_bytes(), 1, mtime=0))


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Call it with the thresholds of challenger and champion."""
    (tmp_path / "data" / MODEL).mkdir(parents=True)
    lay_out(tmp_path, tmp_path)
    enter(monkeypatch, tmp_path)
    data = catalog.get(MODEL).data
    data.synthesise(tmp_path / "data" / MODEL, {"seed": 1, "train": 1, "val": 0, "test": 0})
    data.add(tmp_path / "data" / MODEL, [labelled(seed) for seed in range(12)], "starter", Shares(0, 1))
    data.add(tmp_path / "data" / MODEL, [labelled(seed) for seed in range(20, 32)], "drift", Shares(0, 1))

    def call(challenger: float, champion: float | None, must_win_on: str | None = None) -> Decision:
        new = make_tiny_bundle(tmp_path / "new", threshold=challenger)
        old = make_tiny_bundle(tmp_path / "old", threshold=champion) if champion is not None else None
        versions = [
            Version(MODEL, number, "", bundle.digest, (), 0.0) if bundle else None
            for number, bundle in ((2, new), (1, old))
        ]
        assert versions[0] is not None
        return decide(versions[0], new, versions[1], old, asked_by="a test", why="to see", must_win_on=must_win_on)

    return call


def failed(decision: Decision) -> set[str]:
    return {reason.rule for reason in decision.reasons if not reason.passed}


def test_a_first_version_has_to_pass_the_floor(ask: Decide) -> None:
    good, bad = ask(GOOD, None), ask(BAD, None)
    assert good.granted, good.summary
    assert good.champion is None
    assert failed(bad) == {"metric floor"}
    assert "Dice 0.0" in bad.summary


def test_a_better_one_is_granted_and_the_page_says_why(ask: Decide) -> None:
    decision = ask(GOOD, WORSE)
    assert decision.granted, decision.summary
    names = [row.name for row in decision.slices]
    assert names[0] == "all"
    assert {"origin=starter", "origin=drift"} <= set(names)
    assert all(row.low <= row.difference <= row.high for row in decision.slices)
    assert decision.pictures
    page = decision.to_html()
    assert "metric floor" in page
    assert "data:image/jpeg" in page


def test_a_worse_one_is_refused(ask: Decide) -> None:
    decision = ask(WORSE, GOOD)
    assert not decision.granted
    assert {"no slice lost", "better than the champion"} <= failed(decision)


def test_an_equal_one_is_refused(ask: Decide) -> None:
    assert failed(ask(GOOD, GOOD)) == {"better than the champion"}


@pytest.mark.parametrize(
    ("name", "cases", "difference", "high", "passed"),
    [
        ("all", 24, -0.02, 0.01, False),  # all cases together: the figure itself counts
        ("all", 24, -0.009, 0.01, True),
        ("view=several", 24, -0.05, 0.01, True),  # one or two of 24 pictures: chance
        ("view=several", 24, -0.05, -0.001, False),
        ("view=several", 24, -0.009, -0.001, True),  # sure, but within the budget
        ("view=several", 400, -0.02, 0.01, True),
        ("view=several", 400, -0.02, -0.001, False),
    ],
)
def test_all_cases_may_not_lose_more_than_the_budget_and_no_slice_beyond_chance(
    name: str, cases: int, difference: float, high: float, passed: bool
) -> None:
    score = Score(value=0.9, low=0.8, high=1.0, cases=cases)
    row = SliceRow(name, score, score, difference, difference - 0.1, high)
    assert _no_loss(catalog.get(MODEL), [row]).passed is passed


@pytest.mark.parametrize(("slice_", "granted"), [("origin=drift", True), ("origin=elsewhere", False)])
def test_it_must_win_on_the_slice_it_was_made_for(ask: Decide, slice_: str, granted: bool) -> None:
    decision = ask(GOOD, WORSE, slice_)
    assert decision.granted is granted
    assert failed(decision) == (set() if granted else {f"better on {slice_}"})


def test_evaluation_gives_interval_and_slices(ask: Decide, tmp_path: Path) -> None:
    from registry.predictor import Predictor

    stage = open_stage(MODEL)
    bundle = make_tiny_bundle(tmp_path / "b", threshold=GOOD)
    found = evaluate(Predictor(bundle, threads=1), stage.split("test"), 200)
    assert found.score.low <= found.score.value <= found.score.high
    assert found.score.value == pytest.approx(found.per_case["score"].mean())
    assert found.slices["origin=starter"].cases == 12
    assert found.slices["dimensions=3-D"].cases + found.slices["dimensions=2-D"].cases == 24


def test_spread_shows_every_slice(ask: Decide) -> None:
    shown = spread(open_stage(MODEL).split("test"), 3)
    assert {case.origin for case in shown} == {"starter", "drift"}
    assert len(shown) == 3
