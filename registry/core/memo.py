"""What was said of a result and its truth, said once: a bootstrap asks for the same pairs a thousand times."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

_Result = TypeVar("_Result")
_Truth = TypeVar("_Truth")
_Said = TypeVar("_Said")


def remembered(judge: Callable[[_Result, _Truth], _Said]) -> Callable[[_Result, _Truth], _Said]:
    """`judge`, which computes what it says of a result and a truth once, as long as both live.

    Both must be hashable and weakly referable, as dataclasses with `eq=False` are.
    """
    # Weak keys: what is forgotten elsewhere is forgotten here.
    known: WeakKeyDictionary[_Result, WeakKeyDictionary[_Truth, _Said]] = WeakKeyDictionary()

    @wraps(judge)
    def once(result: _Result, true: _Truth) -> _Said:
        said = known.get(result)
        if said is None:
            said = known[result] = WeakKeyDictionary()
        if true not in said:
            said[true] = judge(result, true)
        return said[true]

    return once
