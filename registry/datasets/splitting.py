"""Assigns imported pictures to splits, without copies, and without look-alikes in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from registry.cases import groups
from registry.cases.mask_labels import MaskLabel
from registry.cases.picture_facts import PictureFacts
from registry.cases.splits import SPLITS, Shares, complete
from registry.cases.table import GROUP
from registry.datasets import box_units
from registry.formats.sources import SourceCase
from registry.vision import look_alikes

_ADJECTIVES = {"train": "training", "val": "validation"}


@dataclass(frozen=True, eq=False)
class Item:
    """A picture to import: the source's case, facts about it, its name and split. `split` is "" without a label."""

    case: SourceCase
    facts: PictureFacts
    name: str
    split: str = ""

    @property
    def group(self) -> str:
        return self.case.attributes.get(GROUP, "")

    @property
    def classes(self) -> set[str]:
        label = self.case.label
        if isinstance(label, MaskLabel):
            return set(label.names)
        return {label} if isinstance(label, str) else {box.name for box in label or ()}

    @property
    def stratum(self) -> str:
        """What each split should hold its share of: the class, or pictures that show something and others."""
        label = self.case.label
        return label if isinstance(label, str) else "some" if self.classes else "none"


def assign_splits(items: Sequence[Item], shares: Shares, keep: bool) -> tuple[list[Item], list[str]]:
    """Gives every labelled item a split and leaves copies out. `keep`: keep look-alikes of held-out pictures.

    Returns:
        the items, those without a label last; and notes.
    """
    notes: list[str] = []
    unlabelled = [item for item in items if item.case.label is None]
    labels = [item.case.label for item in items if item.case.label is not None]
    labelled, copies, disputed = _without_copies([item for item in items if item.case.label is not None])
    if copies:
        notes.append(f"{copies} copies of other pictures left out")
    if disputed:
        what = "classes" if isinstance(labels[0], str) else "masks" if isinstance(labels[0], MaskLabel) else "boxes"
        notes.append(f"left out, the same picture with different {what}: {', '.join(disputed[:10])}")
    by_name = {item.name: item for item in labelled}
    grouped = {item.name: item.group for item in labelled}
    found, set_aside = complete(
        {name: item.case.split for name, item in by_name.items()},
        shares,
        {name: item.stratum for name, item in by_name.items()},
        lambda names: groups.units(names, grouped, _pairs([by_name[name] for name in names])),
    )
    labelled = [replace(item, split=found[item.name]) for item in labelled]
    notes += set_aside
    twins = _look_alikes_of_held_out(labelled)
    for split, adjective in _ADJECTIVES.items():
        mine = sorted(name for name, side in twins.items() if side == split)
        if mine:
            some = f"{len(mine)} of {sum(item.split == split for item in labelled)} {adjective} pictures"
            notes.append(
                f"{some} are nearly the same as held-out ones: the metric will flatter"
                if keep
                else f"{some} left out, as nearly the same one is held out: {', '.join(mine[:5])} "
                "(--look-alikes keep takes them)"
            )
    return [*(item for item in labelled if keep or item.name not in twins), *unlabelled], notes


def _without_copies(items: Sequence[Item]) -> tuple[list[Item], int, list[str]]:
    """Of pictures with the same pixels, the held-out one or the first stays; with different labels, none does."""
    same: dict[str, list[Item]] = {}
    for item in items:
        same.setdefault(item.facts.content, []).append(item)
    kept, disputed = [], []
    for copies in same.values():
        if not all(_same_label(copies[0], item) for item in copies[1:]):
            disputed += [item.name for item in copies]
        else:
            kept.append(max(copies, key=lambda item: SPLITS.index(item.case.split) if item.case.split else -1))
    kept.sort(key=lambda item: item.name)
    return kept, len(items) - len(kept) - len(disputed), sorted(disputed)


def _same_label(one: Item, other: Item) -> bool:
    left, right = one.case.label, other.case.label
    if isinstance(left, tuple) and isinstance(right, tuple):
        return box_units.same_boxes(left, right)
    return left == right


def _look_alikes_of_held_out(items: Sequence[Item]) -> dict[str, str]:
    """Items that look like one of a later split (of `SPLITS`): name -> their own split."""
    sides = {
        split: [item for item in items if item.split == split and item.facts.fingerprint is not None]
        for split in SPLITS
    }
    found: dict[str, str] = {}
    for left, right in (("val", "test"), ("train", "test"), ("train", "val")):
        ours = sides[left]
        others = [item for item in sides[right] if item.name not in found]
        for n, _ in look_alikes.pairs(_fingerprints(ours), _fingerprints(others)):
            found[ours[n].name] = left
    return found


def _pairs(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """The names of items that look alike."""
    seen = [item for item in items if item.facts.fingerprint is not None]
    for left, right in look_alikes.pairs(_fingerprints(seen), _fingerprints(seen)):
        yield seen[left].name, seen[right].name


def _fingerprints(items: Sequence[Item]) -> list[look_alikes.Fingerprint]:
    return [item.facts.fingerprint for item in items if item.facts.fingerprint is not None]
