"""The three splits of a data set, how cases are assigned to them, and how other people name them.

`train` teaches. `val` chooses the epoch, the variant and thresholds. Only the stage `evaluate` and the gate read
`test`; every figure that is called held-out comes from it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "val", "test")
_NAMES = re.compile(r"(train|training|val|valid|validation|test|testing)[_-]?\d{0,4}", re.IGNORECASE)


@dataclass(frozen=True)
class Shares:
    """The shares of `val` and `test` in a data set without splits of its own; the rest is `train`."""

    val: float = 0.15
    test: float = 0.2

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test > 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} must be 0 or more, and at most 1 together")

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Shares:
        """Reads `val_share` and `test_share` of an import's parameters, with their defaults."""
        return cls(float(params.get("val_share", cls.val)), float(params.get("test_share", cls.test)))

    def split(self, name: str) -> str:
        """The split of a name, which depends on nothing else in the data set."""
        fraction = hash_fraction(name)
        # `val` first: cases that were in it before there was a test part stay there.
        return "val" if fraction < self.val else "test" if fraction < self.val + self.test else "train"

    def deal(self, strata: Mapping[str, str], weights: Mapping[str, int] | None = None) -> dict[str, str]:
        """Assigns names to splits: these shares of each stratum, in the order of the names' hashes.

        A stratum of three names or more has at least one in each split; one of two has one in `test`. A split that
        is still empty gets a name of the largest stratum that can spare one.

        Args:
            strata: name -> stratum, e.g. the class.
            weights: name -> how many cases it represents; by default one.
        """
        members: dict[str, list[str]] = {}
        for name in sorted(strata, key=lambda name: (hash_fraction(name), name)):
            members.setdefault(strata[name], []).append(name)
        weight = dict.fromkeys(strata, 1) | dict(weights or {})
        found: dict[str, str] = {}
        for names in members.values():
            found |= self._deal_one(names, weight)
        for split, share in (("test", self.test), ("val", self.val)):
            spare = [[name for name in names if found[name] == "train"] for names in members.values()]
            largest = max(spare, key=len, default=[])
            if share and split not in found.values() and len(largest) > 1:
                found[min(largest, key=lambda name: weight[name])] = split
        return found

    def _deal_one(self, names: Sequence[str], weight: Mapping[str, int]) -> dict[str, str]:
        """Deals one stratum, its names in order. A name too heavy for what a split still lacks goes elsewhere."""
        cases = sum(weight[name] for name in names)
        test = min(max(round(self.test * cases), 1 if self.test and len(names) > 1 else 0), max(cases - 1, 0))
        val = min(max(round(self.val * cases), 1 if self.val and len(names) > 2 else 0), max(cases - 1 - test, 0))
        lacks = {"val": val, "test": test}
        found = {}
        for name in names:
            fits = (split for split, lack in lacks.items() if lack >= (weight[name] + 1) // 2)
            found[name] = next(fits, "train")
            if found[name] != "train":
                lacks[found[name]] -= weight[name]
        for split, least in (("test", 2), ("val", 3)):
            if not {"val": val, "test": test}[split] or split in found.values() or len(names) < least:
                continue
            spare = max(([name for name in names if found[name] == part] for part in SPLITS), key=len)
            if len(spare) > 1:
                found[min(spare, key=lambda name: weight[name])] = split
        return found


def complete(
    given: Mapping[str, str],
    shares: Shares,
    strata: Mapping[str, str],
    units: Callable[[Sequence[str]], Mapping[str, str]],
) -> tuple[dict[str, str], list[str]]:
    """Keeps the source's splits, and sets cases aside for those that it lacks.

    Args:
        given: case -> the source's split, or "" if it gives none.
        strata: case -> stratum, see `Shares.deal`.
        units: cases -> for each, the case that represents all that must stay together with it.

    Returns:
        case -> split, and notes on what was set aside.
    """

    def dealt(cases: Sequence[str], shares: Shares, rest: str = "train") -> dict[str, str]:
        first = units(cases)
        parts = shares.deal({unit: strata[unit] for unit in first.values()}, Counter(first.values()))
        return {case: rest if parts[unit] == "train" else parts[unit] for case, unit in first.items()}

    def cases_of(split: str) -> list[str]:
        return [case for case, name in given.items() if name == split]

    splits = set(given.values())
    if splits == {"train", "val"} and shares.test:
        share = shares.test / (shares.val + shares.test)
        note = f"the source has no test split: {share:.0%} of its validation split are held out as one"
        return {**given, **dealt(cases_of("val"), Shares(0, share), "val")}, [note]
    if splits == {"train", "test"} and shares.val:
        share = shares.val / (1 - shares.test)
        note = f"the source has no validation split: {share:.0%} of its training split become one"
        return {**given, **dealt(cases_of("train"), Shares(share, 0))}, [note]
    if given and "" not in splits and (len(splits) == 1 or "train" not in splits):
        only = f"the source has only {' and '.join(sorted(splits))}"
        note = f"{only}: {shares.val:.0%} of it become the validation split, {shares.test:.0%} the test split"
        return dealt(list(given), shares), [note]
    return {**given, **dealt(cases_of(""), shares)}, []


def hash_fraction(name: str) -> float:
    """A hash of the name as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def split_from_name(text: str) -> str:
    """`train`, `val`, `test` or "" for a folder's name, a file's stem or a table's cell."""
    match = _NAMES.fullmatch(text.strip())
    return "" if match is None else next(split for split in SPLITS if match[1].lower().startswith(split))


def split_from_stem(stem: str) -> str:
    """`instances_val2017` -> `val`."""
    return next(filter(None, map(split_from_name, re.split(r"[_.\-]", stem))), "")


def split_from_folders(path: Path, root: Path) -> str:
    """The split that the topmost folder named like one gives."""
    return next(filter(None, map(split_from_name, path.relative_to(root).parts[:-1])), "")
