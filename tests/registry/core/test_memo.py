"""A pair is judged once, and is not kept alive by it."""

from __future__ import annotations

import weakref

from registry.core.memo import remembered


class Thing:
    """A result, or a truth."""


def test_each_pair_is_judged_once_and_by_itself() -> None:
    asked = []

    @remembered
    def judge(result: Thing, true: Thing) -> int:
        asked.append((result, true))
        return len(asked)

    one, two, first, second = (Thing() for _ in range(4))
    said = [judge(result, true) for result, true in ((one, first), (one, second), (two, first), (one, first))]
    assert said == [1, 2, 3, 1]
    assert asked == [(one, first), (one, second), (two, first)]


def test_what_was_judged_may_be_forgotten() -> None:
    @remembered
    def judge(result: Thing, true: Thing) -> int:
        return 1

    result, true = Thing(), Thing()
    judge(result, true)
    gone = weakref.ref(result), weakref.ref(true)
    del result, true
    assert gone[0]() is None
    assert gone[1]() is None
