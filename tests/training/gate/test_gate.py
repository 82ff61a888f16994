"""Who may become champion: real bundles (an intensity threshold as a network) on scans of ellipses."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.cases.records import LabelledInput
from registry.cases.splits import Shares
from registry.contract import catalog
from registry.core.media import Case
from registry.versions.bundle import REFERENCE, Bundle, open_bundle, seal
from registry.versions.decision import Decision
from registry.versions.learned import write as write_learned
from registry.versions.mlflow_registry import Version
from tests.bundles import AFFINE, make_scan, make_tiny_bundle
from tests.training.conftest import MODEL, enter, lay_out
from training.gate import rules
from training.gate.gate import Best, decide
from training.workspace.scoring import evaluate, representative_cases
from training.workspace.workspace import open_workspace

GOOD, BETTER, WORSE, BAD = 0.5, 0.75, 0.85, 5.0

Decide = Any
"""See `ask`."""


def labelled(seed: int) -> LabelledInput:
    """An ellipse and its exact mask."""
    shape = (64, 48) if seed % 3 else (64, 48, 3)
    body = make_scan(seed, shape, noise=0.02)
    voxels = nib.Nifti1Image.from_bytes(gzip.decompress(body)).get_fdata()
    truth = nib.Nifti1Image((voxels > 500).astype(np.uint8), AFFINE)
    return LabelledInput(f"case-{seed}", body, gzip.compress(truth.to_bytes(), 1, mtime=0))


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Call it with the thresholds of challenger and champion, and with changes to their bundles (see `make`)."""
    (tmp_path / "data" / MODEL).mkdir(parents=True)
    lay_out(tmp_path, tmp_path)
    enter(monkeypatch, tmp_path)
    data = catalog.get(MODEL).data
    data.synthesise(tmp_path / "data" / MODEL, {"seed": 1, "train": 1, "val": 0, "test": 0})
    data.add(tmp_path / "data" / MODEL, [labelled(seed) for seed in range(12)], "starter", Shares(0, 1))
    data.add(tmp_path / "data" / MODEL, [labelled(seed) for seed in range(20, 32)], "drift", Shares(0, 1))

    class Asking:
        root = tmp_path

        def __call__(
            self,
            challenger: float,
            champion: float | None,
            must_win_on: str | None = None,
            new: dict[str, Any] | None = None,
            old: dict[str, Any] | None = None,
            best: Best | None = None,
        ) -> Decision:
            mine = make(tmp_path / "new", challenger, **(new or {}))
            theirs = make(tmp_path / "old", champion, **(old or {})) if champion is not None else None
            one = Version(MODEL, 3, "", mine.digest, (), 0.0)
            other = Version(MODEL, 2, "", theirs.digest, (), 0.0) if theirs else None
            why = {"asked_by": "a test", "why": "to see"}
            return decide(one, mine, other, theirs, must_win_on=must_win_on, best=best, **why)

    return Asking()


def make(
    folder: Path,
    threshold: float,
    *,
    work: int = 0,
    learned: Sequence[Case] = (),
    then: Callable[[Bundle], None] = lambda bundle: None,
    **manifest: Any,
) -> Bundle:
    """A tiny bundle, changed and sealed again."""
    shutil.rmtree(folder, ignore_errors=True)
    bundle = make_tiny_bundle(folder, threshold=threshold, work=work)
    write_learned(folder, [replace(case, split="train") for case in learned], None)
    then(bundle)
    seal(folder, bundle.manifest.model_copy(update=manifest))
    return open_bundle(folder)


def failed(decision: Decision) -> set[str]:
    return {reason.rule for reason in decision.reasons if not reason.passed}


def found(decision: Decision) -> str:
    """What the rules found that were not passed."""
    return " ".join(map(str, decision.failed))


def test_a_first_version_has_to_pass_the_floor(ask: Decide) -> None:
    good, bad = ask(GOOD, None), ask(BAD, None)
    assert good.granted, good.summary
    assert good.champion is None
    assert failed(bad) == {"metric floor"}
    assert "Dice 0.0" in found(bad)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "the data of this version were not checked"),
        ("{ half a file", "the data of this version were not checked"),
        ({"valid": False, "checks": [{"says": "a-1 is empty", "passed": False, "warning": False}]}, "a-1 is empty"),
    ],
    ids=["none", "damaged", "invalid"],
)
def test_data_that_were_not_checked_or_failed_are_refused(ask: Decide, result: object, words: str) -> None:
    file = ask.root / "build" / MODEL / "validation" / "result.json"
    file.unlink()
    if result is not None:
        file.write_text(result if isinstance(result, str) else json.dumps(result))
    decision = ask(GOOD, None)
    assert failed(decision) == {"data checks"}
    assert words in found(decision)


def test_a_check_of_other_data_is_none_of_this(ask: Decide) -> None:
    file = ask.root / "build" / MODEL / "validation" / "result.json"
    file.write_text(json.dumps({"valid": True, "data_hash": "0123.dir"}))
    refused = ask(GOOD, None)
    assert failed(refused) == {"data checks"}
    assert any("0123.dir was checked, " in str(reason) for reason in refused.reasons)
    file.write_text(json.dumps({"valid": True, "data_hash": open_workspace(MODEL).data_hash}))
    assert ask(GOOD, None).granted


def test_a_better_one_is_granted_and_the_page_says_why(ask: Decide) -> None:
    decision = ask(GOOD, WORSE)
    assert decision.granted, decision.summary
    names = [row.name for row in decision.slices]
    assert names[0] == "all"
    assert {"origin=starter", "origin=drift"} <= set(names)
    assert decision.slices[0].difference > 0
    assert decision.pictures
    page = decision.to_html()
    assert "metric floor" in page
    assert "data:image/jpeg" in page


def test_a_worse_one_is_refused(ask: Decide) -> None:
    decision = ask(WORSE, GOOD)
    assert not decision.granted
    assert {"not worse than the champion", "no slice lost", "better than the champion"} <= failed(decision)


def test_the_same_network_with_nothing_new_is_refused(ask: Decide) -> None:
    decision = ask(GOOD, GOOD)
    assert failed(decision) == {"new beside the network"}
    assert decision.to_json()["same_network"] is True


def with_column(bundle: Bundle) -> None:
    path = bundle.path / REFERENCE
    table = pq.read_table(path)
    pq.write_table(table.append_column("image.colourfulness", pa.array([0.5] * len(table))), path)


@pytest.mark.parametrize(
    ("new", "old", "rule"),
    [
        ({"then": with_column}, {}, None),
        ({}, {"then": with_column}, "new beside the network"),  # a statistic that is watched today is lost
        ({"thresholds": {"probability": 0.5, "least_area": 3}}, {}, None),
        ({"data_hash": "of today"}, {}, None),
        ({"numerics": "bf16"}, {}, "better than the champion"),  # not the same way to run it
        ({"thresholds": {"probability": 0.9999}}, {}, "better than the champion"),  # it answers otherwise
    ],
    ids=["a statistic", "a statistic lost", "a threshold", "data", "numerics", "other answers"],
)
def test_an_unchanged_network_has_a_way_of_its_own(
    ask: Decide, new: dict[str, Any], old: dict[str, Any], rule: str | None
) -> None:
    """With the same answers to every case it cannot be better by the metric: what is new beside it counts."""
    if "data_hash" in new:
        new = {"data_hash": open_workspace(MODEL).data_hash}
    decision = ask(GOOD, GOOD, new=new, old=old)
    assert decision.granted is (rule is None), decision.summary
    assert rule is None or rule in failed(decision)
    assert decision.same_network is (rule is None or rule == "new beside the network")


def test_as_good_and_smaller_is_enough(ask: Decide) -> None:
    decision = ask(GOOD, GOOD, old={"work": 3})
    assert decision.granted, decision.summary
    assert "smaller" in decision.reasons[-1].found
    assert failed(ask(GOOD, GOOD, new={"work": 3})) == {"new beside the network"}
    assert "better than the champion" in failed(ask(WORSE, GOOD, old={"work": 3})), "smaller, and not as good"


def test_as_good_and_faster_is_enough_and_as_fast_is_not(ask: Decide, tmp_path: Path) -> None:
    fast, slow = make_tiny_bundle(tmp_path / "fast"), make_tiny_bundle(tmp_path / "slow", work=6)
    for bundle in (fast, slow):  # as large as each other
        path = bundle.path / bundle.manifest.network
        network = onnx.load(path)
        network.doc_string = "x" * (10**6 - path.stat().st_size)
        onnx.save(network, path)
    assert rules.lighter(fast, slow, 1).startswith("faster: ")
    assert not rules.lighter(slow, fast, 1)
    assert not rules.lighter(fast, fast, 1)


def test_what_it_learned_from_is_no_test_of_it(ask: Decide) -> None:
    seen = open_workspace(MODEL).split("test")[:3]
    decision = ask(GOOD, WORSE, new={"learned": seen})
    assert failed(decision) == {"test cases new to it"}
    assert all(case.id in found(decision) for case in seen)
    assert "from scratch" in found(decision)


@pytest.mark.parametrize(("seen", "granted", "cases"), [(10, True, 14), (20, False, 24)])
def test_what_the_champion_learned_from_is_not_compared_on(ask: Decide, seen: int, granted: bool, cases: int) -> None:
    decision = ask(GOOD, WORSE, old={"learned": open_workspace(MODEL).split("test")[:seen]})
    assert decision.granted is granted, decision.summary
    assert decision.slices[0].challenger.cases == cases
    rule = next(reason for reason in decision.reasons if reason.rule == "test cases new to the champion")
    assert rule.passed is granted
    assert f"{24 - seen} remain" in rule.found


def test_it_is_compared_with_the_best_champion_so_far_as_well(ask: Decide) -> None:
    """Better than the champion, which is worse than an earlier one."""
    first = make_tiny_bundle(ask.root / "first", threshold=GOOD)
    best = Best({"all": 1, "origin=starter": 1, "origin=gone": 7}, {1: first})
    decision = ask(BETTER, WORSE, best=best)
    assert failed(decision) == {"not worn down"}
    assert "version 1" in found(decision)
    assert decision.best == {"all": 1, "origin=starter": 1, "origin=drift": 3}  # the drift is better than ever
    granted = ask(GOOD, WORSE, best=best)
    assert granted.granted, granted.summary
    assert granted.best["all"] == 1  # of equals the older one stays the measure
    assert ask(GOOD, WORSE).best["all"] == 3
    deleted = ask(GOOD, WORSE, best=Best({"all": 1}, {}))
    assert deleted.granted
    assert "no longer in the registry" in " ".join(reason.found for reason in deleted.reasons)


@pytest.mark.parametrize(("slice_", "granted"), [("origin=drift", True), ("origin=elsewhere", False)])
def test_it_must_win_on_the_slice_it_was_made_for(ask: Decide, slice_: str, granted: bool) -> None:
    decision = ask(GOOD, WORSE, slice_)
    assert decision.granted is granted
    assert failed(decision) == (set() if granted else {f"better on {slice_}"})


def test_evaluation_gives_interval_and_slices(ask: Decide, tmp_path: Path) -> None:
    from registry.versions.predictor import Predictor

    stage = open_workspace(MODEL)
    bundle = make_tiny_bundle(tmp_path / "b", threshold=GOOD)
    found = evaluate(Predictor(bundle, threads=1), stage.split("test"), 200)
    assert found.score.low <= found.score.value <= found.score.high
    assert found.score.value == pytest.approx(found.per_case["score"].mean())
    assert found.slices["origin=starter"].cases == 12
    assert found.slices["dimensions=3-D"].cases + found.slices["dimensions=2-D"].cases == 24


def test_spread_shows_every_slice(ask: Decide) -> None:
    shown = representative_cases(open_workspace(MODEL).split("test"), 3)
    assert {case.origin for case in shown} == {"starter", "drift"}
    assert len(shown) == 3
