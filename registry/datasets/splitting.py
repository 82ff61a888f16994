"""Which imported pictures teach, choose or are held out, without copies or look-alikes on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry.cases import groups
from registry.cases.picture_facts import PictureFacts
from registry.cases.splits import SPLITS, Shares, complete, hash_fraction
from registry.cases.table import GROUP
from registry.datasets import box_units
from registry.formats.sources import FoundCase
from registry.vision import look_alikes

_NAMED = {"train": "training", "val": "validation"}


@dataclass(frozen=True, eq=False)
class Item:
    """One picture on its way: where from, what it shows, its case and split. `split` "" : for prediction only."""

    found: FoundCase
    look: PictureFacts
    case: str
    split: str = ""

    @property
    def group(self) -> str:
        return self.found.attributes.get(GROUP, "")

    @property
    def names(self) -> set[str]:
        label = self.found.label
        return {label} if isinstance(label, str) else {one.name for one in label or ()}

    @property
    def stratum(self) -> str:
        """What its part should hold its share of: its class, or pictures with and without boxes."""
        label = self.found.label
        return label if isinstance(label, str) else "boxes" if label else "none"


def splits(items: Sequence[Item], shares: Shares, keep: bool) -> tuple[list[Item], list[str]]:
    """Every labelled item with its split, without copies; and what was done."""
    notes: list[str] = []
    loose = [item for item in items if item.found.label is None]
    labels = [item.found.label for item in items if item.found.label is not None]
    labelled, copies, disputed = _without_copies([item for item in items if item.found.label is not None])
    if copies:
        notes.append(f"{copies} copies of pictures that are there already left out")
    if disputed:
        what = "classes" if isinstance(labels[0], str) else "boxes"
        notes.append(f"left out, the same picture with different {what}: {', '.join(disputed[:10])}")
    by_case = {item.case: item for item in labelled}
    grouped = {item.case: item.group for item in labelled}
    found, set_aside = complete(
        {case: item.found.split for case, item in by_case.items()},
        shares,
        {case: item.stratum for case, item in by_case.items()},
        lambda cases: groups.units(cases, grouped, _leaders([by_case[case] for case in cases])),
    )
    labelled = [replace(item, split=found[item.case]) for item in labelled]
    notes += set_aside
    twins = _twins(labelled)
    for split, named in _NAMED.items():
        mine = sorted(case for case, side in twins.items() if side == split)
        if mine:
            some = f"{len(mine)} of {sum(item.split == split for item in labelled)} {named} pictures"
            notes.append(
                f"{some} are nearly the same as held-out ones: the metric will flatter"
                if keep
                else f"{some} left out, as nearly the same one is held out: {', '.join(mine[:5])} "
                "(--look-alikes keep takes them)"
            )
    return [*(item for item in labelled if keep or item.case not in twins), *loose], notes


def _without_copies(items: Sequence[Item]) -> tuple[list[Item], int, list[str]]:
    """Of pictures with the same pixels the held-out one stays, else the first; of one with two labels, none."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.look.content, []).append(item)
    kept, disputed = [], []
    for group in groups.values():
        if not all(_same_label(group[0], item) for item in group[1:]):
            disputed += [item.case for item in group]
        else:
            kept.append(max(group, key=lambda item: SPLITS.index(item.found.split) if item.found.split else -1))
    kept.sort(key=lambda item: item.case)
    return kept, len(items) - len(kept) - len(disputed), sorted(disputed)


def _same_label(one: Item, other: Item) -> bool:
    left, right = one.found.label, other.found.label
    if isinstance(left, tuple) and isinstance(right, tuple):
        return box_units.same(left, right)
    return left == right


def _twins(items: Sequence[Item]) -> dict[str, str]:
    """Cases that nearly repeat one of a later part (of `SPLITS`), and the part that they are in."""
    sides = {
        split: [item for item in items if item.split == split and item.look.fingerprint is not None] for split in SPLITS
    }
    found: dict[str, str] = {}
    for left, right in (("val", "test"), ("train", "test"), ("train", "val")):
        ours = sides[left]
        others = [item for item in sides[right] if item.case not in found]
        for n, _ in look_alikes.pairs(_marks(ours), _marks(others)):
            found[ours[n].case] = left
    return found


def _leaders(items: Sequence[Item]) -> dict[str, str]:
    """Case -> the first case that shows the same, by the hash of the names."""
    above = {item.case: item.case for item in items}

    def top(case: str) -> str:
        while above[case] != case:
            case = above[case]
        return case

    seen = [item for item in items if item.look.fingerprint is not None]
    for left, right in look_alikes.pairs(_marks(seen), _marks(seen)):
        a, b = sorted((top(seen[left].case), top(seen[right].case)), key=hash_fraction)
        above[b] = a
    return {case: top(case) for case in above}


def _marks(items: Sequence[Item]) -> list[look_alikes.Fingerprint]:
    return [item.look.fingerprint for item in items if item.look.fingerprint is not None]
