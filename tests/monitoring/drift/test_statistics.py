"""The drift tests keep to their false-alarm rate, and see what they should, on windows as small as a demo's."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.drift import findings, statistics
from monitoring.drift.findings import Table
from monitoring.drift.statistics import compare_distributions
from tests.benchmarks import calibration

FEATURES, ANSWERS, DIMENSIONS = 10, 7, 64
MIX = np.random.default_rng(1).normal(size=(FEATURES, FEATURES)) / 3


def table(
    rng: np.random.Generator, rows: int, *, shift: float = 0, features: float = 0, answers: float = 0, origin: str = "a"
) -> Table:
    """Skewed, correlated statistics, one of them rounded, and embeddings of falling variance, as real ones are."""
    image = np.exp(0.5 * rng.normal(size=(rows, FEATURES)) @ MIX)
    image[:, 0] += shift * 0.5
    image[:, 3] = image[:, 3].round(1)
    answer = rng.normal(size=(rows, ANSWERS)) + answers
    spread = np.linspace(3, 0.1, DIMENSIONS) ** 2
    embedding = rng.normal(size=(rows, DIMENSIONS)) * spread
    embedding[:, :8] += features * spread[:8]
    columns = {f"image.{i}": image[:, i] for i in range(FEATURES)}
    columns |= {f"prediction.{i}": answer[:, i] for i in range(ANSWERS)}
    ids = tuple(str(i) for i in range(rows))
    return Table(ids, columns, embedding.astype(np.float32), (origin,) * rows, np.full(rows, np.nan))


def join(*tables: Table) -> Table:
    return Table(
        tuple(f"{i}" for i in range(sum(map(len, tables)))),
        {name: np.concatenate([t.columns[name] for t in tables]) for name in tables[0].columns},
        np.concatenate([t.embedding for t in tables]),
        tuple(origin for t in tables for origin in t.origin),
        np.concatenate([t.score for t in tables]),
    )


@pytest.mark.parametrize(("reference", "window"), [(48, 24)])
def test_false_alarms_keep_to_the_stated_rate_over_100_null_splits(reference: int, window: int) -> None:
    rng = np.random.default_rng(reference + window)
    pool = table(rng, 4 * (reference + window))
    alarms = 0
    for seed in range(100):
        rows = rng.permutation(len(pool))
        alarms += compare_distributions(
            pool.take(rows[:reference]), pool.take(rows[reference : reference + window]), 0.05, seed=seed
        ).drifted
    assert alarms <= 5


def test_one_reference_that_meets_100_windows_keeps_to_the_stated_rate_too() -> None:
    rng = np.random.default_rng(11)
    reference = table(rng, 48)
    assert sum(compare_distributions(reference, table(rng, 24), 0.05, seed=seed).drifted for seed in range(100)) <= 5


def test_a_bundles_own_reference_split_in_halves_does_not_alarm_more_than_stated() -> None:
    assert calibration.false_alarms(table(np.random.default_rng(5), 48), 100, 0.05) <= 5


@pytest.mark.parametrize(
    ("moved", "kind"), [({"shift": 2.5}, "data"), ({"features": 1.5}, "embedding"), ({"answers": 1.5}, "prediction")]
)
def test_a_window_of_24_shows_a_plain_shift_and_which_kind(moved: dict[str, float], kind: str) -> None:
    rng = np.random.default_rng(3)
    findings = [compare_distributions(table(rng, 48), table(rng, 24, **moved), 0.05) for _ in range(20)]  # type: ignore[arg-type]
    seen = [finding for finding in findings if (test := finding.test(kind)) and test.drifted]
    assert len(seen) >= 19


def test_the_column_that_moved_is_named_and_the_rows_that_moved_are_responsible() -> None:
    rng = np.random.default_rng(4)
    reference = table(rng, 48)
    window = join(table(rng, 16), table(rng, 16, shift=6))
    finding = compare_distributions(reference, window, 0.05)
    test = finding.test("data")
    assert test is not None
    assert [column.name for column in test.columns if column.drifted] == ["image.0"]
    assert set(statistics.most_responsible(reference, window, finding)[:16]) == set(range(16, 32))


def test_threshold_and_p_value_agree() -> None:
    rng = np.random.default_rng(6)
    for number in range(40):
        finding = compare_distributions(table(rng, 30), table(rng, 20, shift=number / 20), 0.2, seed=number)
        for test in finding.tests:
            assert test.drifted == (test.statistic > test.threshold)


def test_a_window_that_agrees_with_one_known_origin_is_quiet_and_a_new_one_is_not() -> None:
    rng = np.random.default_rng(7)
    reference = join(table(rng, 48), table(rng, 20, shift=4, origin="stream"))
    known = compare_distributions(reference, table(rng, 24, shift=4), 0.05)
    assert not known.drifted
    assert known.compared_with == "stream"
    assert not compare_distributions(reference, table(rng, 24), 0.05).drifted
    assert compare_distributions(reference, table(rng, 24, shift=-4, features=1.5), 0.05).drifted


def test_a_handful_of_rows_excuses_no_window() -> None:
    """An origin of 6 rows agrees with nearly anything: a moderate shift, a distance of 0.5 from it and more from the
    rest, was seen in none of 60 windows."""
    rng = np.random.default_rng(12)
    seen = 0
    for seed in range(20):
        reference = join(table(rng, 48), table(rng, 6, shift=3, origin="stream"))
        finding = compare_distributions(reference, table(rng, 48, shift=4.35), 0.05, seed=seed)
        assert finding.compared_with == findings.ALL
        seen += finding.drifted
    assert seen >= 18


def test_statistics_that_one_side_lacks_are_named_and_missing_values_are_no_zeros() -> None:
    rng = np.random.default_rng(13)
    reference, window = table(rng, 48), table(rng, 24)
    reference.columns["image.old"] = rng.normal(50, 1, 48)
    window.columns["image.new"] = rng.normal(50, 1, 24)
    for one in (reference, window):
        one.columns["image.rare"] = np.full(len(one), np.nan)
        one.columns["image.half"] = rng.normal(50, 1, len(one))
        one.columns["image.half"][:: 2 if one is window else 50] = np.nan
    window.columns["image.rare"][:3] = 1.0
    reference.columns["image.rare"][:9] = 1.0
    finding = compare_distributions(reference, window, 0.05)
    assert finding.unwatched == {
        "image.new": "this version's reference lacks it",
        "image.old": "these predictions lack it",
        "image.rare": "only 3 of these predictions have a value",
    }
    assert not finding.drifted
    data = finding.test("data")
    assert data is not None
    half = next(column for column in data.columns if column.name == "image.half")
    assert half.window[0] > 40, "a missing value became a number"
    assert np.isfinite(statistics.most_responsible(reference, window, finding)).all()


def test_embeddings_of_another_length_are_named() -> None:
    rng = np.random.default_rng(14)
    reference, window = table(rng, 48), table(rng, 24)
    shorter = Table(window.ids, window.columns, window.embedding[:, :8], window.origin, window.score)
    finding = compare_distributions(reference, shorter, 0.05)
    assert finding.test("embedding") is None
    assert finding.unwatched == {"embedding": "the reference's have 64 numbers, these predictions' 8"}


def test_a_lower_score_alarms_only_beyond_chance_and_beyond_the_tolerance() -> None:
    rng = np.random.default_rng(8)
    reference = rng.normal(0.95, 0.02, 48)
    assert statistics.compare_scores(reference, rng.normal(0.80, 0.05, 12), 0.05, 0.01).drifted
    assert not statistics.compare_scores(reference, rng.normal(0.95, 0.02, 12), 0.05, 0.01).drifted
    assert not statistics.compare_scores(reference, rng.normal(0.99, 0.002, 12), 0.05, 0.01).drifted
    assert not statistics.compare_scores(reference, reference[:24] - 0.02, 0.05, 0.05).drifted


def test_too_few_rows_are_refused() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(ValueError, match="cannot be judged"):
        compare_distributions(table(rng, 48), table(rng, statistics.MIN_WINDOW - 1), 0.05)
