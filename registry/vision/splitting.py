"""Which imported pictures are trained on and which are held out, without copies or look-alikes on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry.vision import duplicates, inspection
from registry.vision.sources import Found
from registry.vision.table import SPLITS, lot


@dataclass(frozen=True, eq=False)
class Item:
    """One picture on its way: where from, what it shows, its case and split. `split` "" : for prediction only."""

    found: Found
    look: inspection.Look
    case: str
    split: str = ""

    @property
    def names(self) -> set[str]:
        label = self.found.label
        return {label} if isinstance(label, str) else {one.name for one in label or ()}


def splits(items: Sequence[Item], share: float, keep: bool) -> tuple[list[Item], list[str]]:
    """Every labelled item with its split, without copies; and what was done."""
    notes: list[str] = []
    loose = [item for item in items if item.found.label is None]
    labelled, copies, disputed = _without_copies([item for item in items if item.found.label is not None])
    if copies:
        notes.append(f"{copies} copies of pictures that are there already left out")
    if disputed:
        notes.append(f"left out, the same picture with different classes: {', '.join(disputed[:10])}")
    said = {item.found.split for item in labelled if item.found.split}
    if len(said) == 1 and all(item.found.split for item in labelled):
        notes.append(f"the source has a {said.pop()} part only: {share:.0%} of it are held out")
        labelled = [replace(item, found=replace(item.found, split="")) for item in labelled]
    free = [item for item in labelled if not item.found.split]
    held = _hold_out(free, share)
    labelled = [replace(item, split=item.found.split or ("val" if item.case in held else "train")) for item in labelled]
    sides = [[item for item in labelled if item.split == split] for split in SPLITS]
    marks = [[item.look.mark for item in side if item.look.mark is not None] for side in sides]
    twins = {sides[0][left].case for left, _ in duplicates.alike(*marks)}
    if twins:
        some = f"{len(twins)} of {len(sides[0])} training pictures"
        notes.append(
            f"{some} are nearly the same as held-out ones: the metric will flatter"
            if keep
            else f"{some} left out, as nearly the same one is held out: {', '.join(sorted(twins)[:5])} "
            "(--look-alikes keep takes them)"
        )
        twins = set() if keep else twins
    return [*(item for item in labelled if item.case not in twins), *loose], notes


def _without_copies(items: Sequence[Item]) -> tuple[list[Item], int, list[str]]:
    """Of pictures with the same pixels the held-out one stays, else the first; of one with two classes, none."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.look.content, []).append(item)
    kept, disputed = [], []
    for group in groups.values():
        if len({item.found.label for item in group if isinstance(item.found.label, str)}) > 1:
            disputed += [item.case for item in group]
        else:
            kept.append(min(group, key=lambda item: item.found.split != "val"))
    kept.sort(key=lambda item: item.case)
    return kept, len(items) - len(kept) - len(disputed), sorted(disputed)


def _hold_out(items: Sequence[Item], share: float) -> set[str]:
    """Cases for `val`: by class where each has one, that share of each, at least one of two; twins stay together."""
    leader = _leaders(items)
    strata: dict[str, list[Item]] = {}
    for item in items:
        label = item.found.label
        strata.setdefault(label if isinstance(label, str) else "boxes" if label else "none", []).append(item)
    held: set[str] = set()
    for group in strata.values():
        ranked = sorted({leader[item.case] for item in group}, key=lot)
        count = max(round(share * len(ranked)), 1 if len(ranked) > 1 and share > 0 else 0)
        chosen = set(ranked[: min(count, max(len(ranked) - 1, 0))])
        held |= {item.case for item in group if leader[item.case] in chosen}
    return held


def _leaders(items: Sequence[Item]) -> dict[str, str]:
    """Case -> the first case that shows the same, by the hash of the names."""
    above = {item.case: item.case for item in items}

    def top(case: str) -> str:
        while above[case] != case:
            case = above[case]
        return case

    marks = [item.look.mark for item in items if item.look.mark is not None]
    for left, right in duplicates.alike(marks, marks):
        a, b = sorted((top(items[left].case), top(items[right].case)), key=lot)
        above[b] = a
    return {case: top(case) for case in above}
