"""The decision page: groups of people, with what has to be said about them."""

from __future__ import annotations

import json

import pytest

from registry.versions.bundle import Score
from registry.versions.decision import Decision, Reason, SliceRow


def row(name: str, value: float, half: float = 0.02, cases: int = 80, groups: int = 0) -> SliceRow:
    low, high = value - half, min(1.0, value + half)
    return SliceRow(name, Score(value=value, low=low, high=high, cases=cases, groups=groups))


def decision(*rows: SliceRow, group_by: tuple[str, ...] = ("skin_tone",)) -> Decision:
    return Decision("m", 1, None, True, "a test", "", "Accuracy", "", (), rows, group_by=group_by)


def test_a_large_gap_between_groups_is_named_with_its_ends() -> None:
    made = decision(row("all", 0.9), row("skin_tone=dark", 0.80), row("skin_tone=light", 0.97), row("light=dim", 0.1))
    (group,) = made.groups
    assert group.gap == pytest.approx(0.17)
    assert group.warnings == ("dark lies 0.170 below light, beyond chance.",)
    page = made.to_html()
    assert "largest gap 0.170" in page
    assert group.warnings[0] in page
    assert json.loads(json.dumps(made.to_json()))["groups"][0]["lowest"] == "skin_tone=dark"


def test_a_gap_that_may_be_chance_is_said_to_be() -> None:
    made = decision(row("skin_tone=dark", 0.85, 0.1), row("skin_tone=light", 0.95, 0.05))
    assert "may be chance" in made.groups[0].warnings[0]


def test_small_groups_come_with_a_warning_and_even_ones_with_none() -> None:
    small = decision(row("skin_tone=dark", 0.95, cases=12), row("skin_tone=light", 0.96))
    assert "dark (12)" in small.groups[0].warnings[0]
    assert decision(row("skin_tone=dark", 0.95), row("skin_tone=light", 0.96)).groups[0].warnings == ()


def test_cases_of_few_patients_are_as_many_as_the_patients() -> None:
    few = decision(row("all", 0.9), row("skin_tone=dark", 0.95, groups=4), row("skin_tone=light", 0.96, groups=40))
    assert few.groups[0].warnings == ("Fewer than 30 groups of cases: dark (4). Their figures say little.",)
    page = few.to_html()
    assert "80 in 4 groups" in page
    assert page.count("too few to judge") == 1


def test_data_without_the_attribute_leaves_the_question_open() -> None:
    made = decision(row("all", 0.9), row("origin=imported", 0.9))
    assert made.groups == ()
    assert "nothing is known of how accuracy differs" in made.to_html()


def test_a_model_that_has_nothing_to_do_with_people_has_no_such_section() -> None:
    assert "Groups of people" not in decision(row("all", 0.9), group_by=()).to_html()


def test_the_page_begins_with_what_was_decided_and_the_rules_that_failed() -> None:
    rules = (Reason("floor", True, "0.9", "0.8"), Reason("size", False, "40 MB", "at most 30 MB"))
    made = Decision("m", 2, 1, False, "a test", "why", "Accuracy", "", rules, created="2026-12-02T14:05:11+00:00")
    page = made.to_html()
    words = (
        "refused</span>",
        "1 of 2 rules failed",
        "✗",
        "size",
        "40 MB",
        "at most 30 MB",
        "✓",
        "floor",
        "2 December 2026",
    )
    places = [page.index(word, page.index("<h1>")) for word in words]
    assert places == sorted(places)
