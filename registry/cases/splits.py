"""The three splits of a data set, and how cases are assigned to them.

`train` teaches. `val` chooses: the epoch, the variant, thresholds. `test` is read by the stage `evaluate` and by the
gate only, and gives every figure that is called held-out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Shares:
    """The shares of `val` and `test` in a data set that comes without splits; the rest is `train`."""

    val: float = 0.15
    test: float = 0.2

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test > 1:
            raise ValueError(f"shares of {self.val:g} and {self.test:g} are negative, or more than all of it")

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Shares:
        """Reads `val_share` and `test_share` of an import's parameters, with their defaults."""
        return cls(float(params.get("val_share", cls.val)), float(params.get("test_share", cls.test)))

    def split(self, name: str) -> str:
        """The split of a name: always the same, whatever else is in the data set."""
        fraction = hash_fraction(name)
        # `val` first: cases that were in it before there was a test part stay there.
        return "val" if fraction < self.val else "test" if fraction < self.val + self.test else "train"

    def deal(self, strata: Mapping[str, str], weights: Mapping[str, int] | None = None) -> dict[str, str]:
        """Names -> parts, by stratum: of each stratum these shares, by the order of the names' hashes.

        A stratum of three or more has one name at least in each part, and one of two a name in `test`; a part that
        would still be empty gets one name of the largest stratum that can spare it.

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
        """One stratum, its names in order. A name that is too heavy for what a part still lacks goes elsewhere."""
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
    said: Mapping[str, str],
    shares: Shares,
    strata: Mapping[str, str],
    units: Callable[[Sequence[str]], Mapping[str, str]],
) -> tuple[dict[str, str], list[str]]:
    """The part of each case: what its source says, and where that lacks a part, what is set aside for it.

    Args:
        said: case -> part, or "" where the source does not say.
        strata: case -> stratum, see `Shares.deal`.
        units: some cases -> of each the case that stands for all that must stay together with it.

    Returns:
        case -> part, and in words what was set aside.
    """

    def dealt(cases: Sequence[str], shares: Shares, rest: str = "train") -> dict[str, str]:
        first = units(cases)
        parts = shares.deal({unit: strata[unit] for unit in first.values()}, Counter(first.values()))
        return {case: rest if parts[unit] == "train" else parts[unit] for case, unit in first.items()}

    def of(*splits: str) -> list[str]:
        return [case for case, split in said.items() if split in splits]

    parts = set(said.values())
    if parts == {"train", "val"} and shares.test:
        share = shares.test / (shares.val + shares.test)
        words = f"the source has no test part: {share:.0%} of its validation part are held out as one"
        return {**said, **dealt(of("val"), Shares(0, share), "val")}, [words]
    if parts == {"train", "test"} and shares.val:
        share = shares.val / (1 - shares.test)
        words = f"the source has no validation part: {share:.0%} of its training part become one"
        return {**said, **dealt(of("train"), Shares(share, 0))}, [words]
    if said and "" not in parts and (len(parts) == 1 or "train" not in parts):
        words = f"the source has a {' and a '.join(sorted(parts))} part only"
        return dealt(list(said), shares), [f"{words}: {shares.val:.0%} of it choose, {shares.test:.0%} are held out"]
    return {**said, **dealt(of(""), shares)}, []


def hash_fraction(name: str) -> float:
    """A hash of the name as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
