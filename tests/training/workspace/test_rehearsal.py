"""New cases get their share of a fine-tuning, and the held-out ones stay as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from registry.core.media import Case
from training.workspace.rehearsal import averaged, with_new_cases_repeated


def cases(split: str, origin: str, count: int) -> list[Case]:
    return [Case(f"{split}-{origin}-{n}", split, origin, Path("input.jpg"), "apple") for n in range(count)]


ALL = [*cases("train", "starter", 300), *cases("train", "drift-1", 10), *cases("val", "starter", 40)]
ALL += cases("val", "drift-1", 6)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_new_cases_are_that_share_of_the_train_split(share: float) -> None:
    found = [case for case in with_new_cases_repeated(ALL, {"starter"}, share) if case.split == "train"]
    new = sum(case.origin == "drift-1" for case in found)
    assert new / len(found) == pytest.approx(share, abs=0.02)
    assert {case.id for case in found} == {case.id for case in ALL if case.split == "train"}


def test_each_new_case_is_repeated_as_often_and_held_out_ones_never() -> None:
    times = Counter(case.id for case in with_new_cases_repeated(ALL, {"starter"}, 0.25))
    assert {times[case.id] for case in ALL if case.origin == "drift-1" and case.split == "train"} == {10}
    assert {times[case.id] for case in ALL if case.split == "val" or case.origin == "starter"} == {1}


@pytest.mark.parametrize("known", [(), ("starter", "drift-1")], ids=["all new", "none new"])
def test_without_old_or_without_new_cases_nothing_changes(known: tuple[str, ...]) -> None:
    assert with_new_cases_repeated(ALL, known, 0.25) == ALL


def test_many_new_cases_are_not_thinned() -> None:
    many = [*cases("train", "starter", 10), *cases("train", "drift-1", 30)]
    assert with_new_cases_repeated(many, {"starter"}, 0.25) == many


def test_averaged_weights_lie_between_and_counters_are_as_tuned() -> None:
    tuned = {"kernel": np.array([1.0, 3.0], np.float32), "batches": np.array(7)}
    champion = {"kernel": np.array([0.0, -1.0], np.float32), "batches": np.array(2)}
    found = averaged(tuned, champion, 0.25)
    np.testing.assert_allclose(found["kernel"], [0.75, 2.0])
    assert found["kernel"].dtype == np.float32
    assert found["batches"] == 7
