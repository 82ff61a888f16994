"""Which part of a data set a case belongs to."""

from __future__ import annotations

import pytest

from registry.cases.splits import SPLITS, Shares


def test_a_name_belongs_to_one_part_for_good_and_the_parts_have_their_shares() -> None:
    shares = Shares(0.15, 0.2)
    found = [shares.split(f"case-{n}") for n in range(4000)]
    assert found == [shares.split(f"case-{n}") for n in range(4000)]
    assert [found.count(split) / 4000 for split in SPLITS] == pytest.approx([0.65, 0.15, 0.2], abs=0.02)


def test_validation_cases_stay_when_a_test_part_is_set_aside() -> None:
    before = {n for n in range(1000) if Shares(0.15, 0).split(f"case-{n}") == "val"}
    assert before == {n for n in range(1000) if Shares(0.15, 0.2).split(f"case-{n}") == "val"}


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ((20, 20), [26, 6, 8]),  # each stratum its shares
        ((3, 3, 3), [3, 3, 3]),  # of three, one in each part
        ((2, 2, 9), [8, 1, 4]),  # of two, one is held out
        ((2, 2), [2, 0, 2]),  # no stratum can spare one to choose by
        ((2, 4), [3, 1, 2]),
        ((1, 1, 1), [3, 0, 0]),  # nothing to spare
        ((1,), [1, 0, 0]),
        ((), [0, 0, 0]),
    ],
)
def test_each_stratum_is_dealt_and_no_part_is_empty_that_need_not_be(sizes: tuple[int, ...], wanted: list[int]) -> None:
    strata = {f"{stratum}-{n}": str(stratum) for stratum, size in enumerate(sizes) for n in range(size)}
    found = Shares(0.15, 0.2).deal(strata)
    assert set(found) == set(strata)
    assert [list(found.values()).count(split) for split in SPLITS] == wanted


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.6, 0.5)])
def test_shares_that_cannot_be_are_refused(val: float, test: float) -> None:
    with pytest.raises(ValueError, match="at most 1 together"):
        Shares(val, test)
