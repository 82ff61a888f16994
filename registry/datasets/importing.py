"""Copies other people's pictures and labels into a data set, after reading all of them.

Classes are matched by name; case, spaces, dashes and underscores do not count, and `map` of the parameters renames.
Splits come from the source. What it lacks is set aside by the hash of the files' names (`registry.datasets.splitting`),
class by class where pictures have classes; pictures that show the same stay on one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from registry.cases import groups, inspection, yolo_labels
from registry.cases.picture_facts import PictureFacts, PictureFactsCache
from registry.cases.records import ImportResult
from registry.cases.splits import Shares
from registry.cases.table import GROUP, Row, slug
from registry.core import archives
from registry.core.errors import DataError
from registry.core.files import write_file
from registry.core.media import Parameters
from registry.datasets import box_units
from registry.datasets.splitting import Item, splits
from registry.formats import boxes as box_formats
from registry.formats import classes as class_formats
from registry.formats.source_folder import Folder, composed
from registry.formats.sources import FoundCase, Names, Reading
from registry.vision import media_types

SHOWN = 20
LABELS = (".txt", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml")
RARE = 10
"""Training cases of a class below which the notes warn."""


class Target(Protocol):
    """The data set that an import fills; `registry.datasets.picture_set.PictureSet` is one."""

    model: str
    boxes: bool
    named: tuple[str, ...] | None

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str: ...

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None: ...


def import_into(target: Target, source: Path, out: Path, params: Parameters) -> ImportResult:
    """As `DataPart.import_from`.

    Args:
        target: the data set's kind; its classes are the model's.
        source: a folder or a .zip; `class_formats.LAYOUTS` and `box_formats.LAYOUTS` say in which formats.
        params: `val_share` and `test_share` (defaults of `registry.cases.splits.Shares`); `map` (the source's class
        names ->
            the model's); `look_alikes`: `drop` (default) or `keep` pictures that are nearly the same as held-out ones;
            `group_pattern`: see `registry.cases.groups.named`; without one, a table's column says what stays together.

    Raises:
        DataError: nothing there, files that cannot be used (all named, up to 20), or no class that the model has.
    """
    with archives.as_folder(source) as root:
        folder = Folder(root)
        names = Names(target.named, params.get("map") or {})
        reading = _read(target, folder, names, source)
        looks = _look(reading, folder)
        items = _items(reading, looks, folder)
        if reading.problems:
            raise _unusable(reading, source)
        _some_label(target, items, names, reading, source)
        keep = params.get("look_alikes") == "keep"
        items = _grouped(items, params.get("group_pattern") or "", folder, reading)
        items, notes = splits(items, Shares.of(params), keep)
        if keep:
            write_file(out / inspection.KEPT, inspection.KEPT_TEXT)
        return _write(target, out, items, [*reading.notes, *_about_names(names), *notes])


def _read(target: Target, folder: Folder, names: Names, source: Path) -> Reading:
    layouts = box_formats.LAYOUTS if target.boxes else class_formats.LAYOUTS
    kinds = ", ".join(f"{ending} ({count})" for ending, count in sorted(folder.kinds_untaken().items()))
    if not folder.pictures:
        raise DataError(
            f"there is no picture in {source}" + (f" of a kind that is taken: {kinds}" if kinds else ""),
            expected=layouts,
            fix="convert them to JPEG or PNG" if kinds else "name the folder that holds them",
        )
    reading = box_formats.read(folder, names, target.named or ()) if target.boxes else class_formats.read(folder, names)
    if reading is None and not folder.with_suffix(*LABELS):
        reading = Reading("pictures without labels", [FoundCase(path) for path in folder.pictures])
    unread = list(dict.fromkeys(folder.unread))
    if reading is None:
        raise DataError(
            f"{len(folder.pictures)} pictures in {source}, but no boxes in a format that is known"
            + "".join(f"\n  {text}" for text in unread[:SHOWN]),
            expected=layouts,
            fix="fix what is said above, and import again; nothing was imported"
            if unread
            else "name the folder that holds both pictures and labels, or export them in one of these formats",
        )
    reading.notes.insert(0, f"read as {reading.layout}")
    if target.boxes:
        reading.notes += [f"not read: {text}" for text in unread]
    else:
        reading.problems += unread  # a table may overrule the folders
    reading.notes += folder.encoding_notes()
    reading.notes += [f"pictures of kinds that are not taken, convert them first: {kinds}"] if kinds else []
    return reading


def _look(reading: Reading, folder: Folder) -> list[PictureFacts]:
    with PictureFactsCache() as at:
        looks = at.at_files([one.path for one in reading.found], inspection.THREADS)
    reading.problems += [
        f"{folder.shown(one.path)}: {look.problem.split(': ', 1)[-1]}"
        for one, look in zip(reading.found, looks, strict=True)
        if look.problem
    ]
    return looks


def _items(reading: Reading, looks: Sequence[PictureFacts], folder: Folder) -> list[Item]:
    """With boxes in pixels of the upright picture, and names of their own."""
    cases = _ids([folder.shown(one.path) for one in reading.found])
    labelled = (one.path if isinstance(one.label, tuple) else None for one in reading.found)
    with ThreadPoolExecutor(inspection.THREADS) as pool:
        shapes = list(pool.map(lambda path: box_units.stored(path) if path else None, labelled))
    found = box_units.upright(reading, looks, shapes, folder.shown)
    reading.notes += [f"{count} {what}" for what, count in sorted(reading.counts.items()) if count]
    items = [Item(one, look, case) for one, look, case in zip(found, looks, cases, strict=True)]
    return sorted(items, key=lambda item: item.case)


def _ids(shown: Sequence[str]) -> list[str]:
    """Short names: the file's own where that is unique, else with its folders; always unique."""
    shown = [composed(name) for name in shown]  # one name for one picture, whichever system packed it
    stems = [slug(Path(name).stem) for name in shown]
    counts = Counter(stem.casefold() for stem in stems)
    longer = [slug(name.rpartition(".")[0].replace("/", "-")) for name in shown]
    used: set[str] = set()
    found = []
    for stem, full in zip(stems, longer, strict=True):
        name = base = stem if counts[stem.casefold()] == 1 else full
        number = 2
        while name.casefold() in used:
            name, number = f"{base}-{number}", number + 1
        used.add(name.casefold())
        found.append(name)
    return found


def _unusable(reading: Reading, source: Path) -> DataError:
    count = len(reading.problems)
    more = f"\n  and {count - SHOWN} more" if count > SHOWN else ""
    return DataError(
        f"{count} problems in {source}, {reading.notes[0]}:\n  " + "\n  ".join(reading.problems[:SHOWN]) + more,
        expected="pictures that can be read, and labels that fit them",
        fix="fix or remove these and import again; nothing was imported",
    )


def _grouped(items: Sequence[Item], pattern: str, folder: Folder, reading: Reading) -> list[Item]:
    """With the groups that the names of the labelled pictures say."""
    if not pattern:
        return list(items)
    labelled = {item.case: folder.shown(item.found.path) for item in items if item.found.label is not None}
    found, notes = groups.named(labelled, pattern)
    reading.notes += notes
    return [
        replace(item, found=replace(item.found, attributes={**item.found.attributes, GROUP: found.get(item.case, "")}))
        for item in items
    ]


def _some_label(target: Target, items: Sequence[Item], names: Names, reading: Reading, source: Path) -> None:
    labelled = [item for item in items if item.found.label is not None]
    if not labelled and not names.dropped and items:
        return  # pictures only: for prediction
    if names.dropped and not any(item.names for item in labelled):
        raise DataError(
            f"none of the classes in {source} is one of {target.model}: {_listed(names.dropped)} ({reading.layout})",
            expected=f"some of {', '.join((target.named or ())[:20])}",
            fix="rename them on the way in with --map THEIRS=OURS, or import into the model that has these classes",
        )
    if len(labelled) == 1:
        raise DataError(
            f"there is one labelled picture in {source}: {labelled[0].found.path.name}",
            expected="some to train on and some held out, ten or more a class",
            fix="label more pictures; nothing was imported",
        )


def _about_names(names: Names) -> list[str]:
    merged = ", ".join(f"{spelt} ({kept})" for spelt, kept in sorted(names.merged)[:12])
    notes = [f"one class with another spelling of its name: {merged}"] if merged else []
    return notes + ([f"left out, not among the model's classes: {_listed(names.dropped)}"] if names.dropped else [])


def _listed(counts: Counter[str]) -> str:
    text = ", ".join(f"{name} ({count})" for name, count in counts.most_common(12))
    return text + (f" and {len(counts) - 12} more" if len(counts) > 12 else "")


def _write(target: Target, out: Path, items: Sequence[Item], notes: list[str]) -> ImportResult:
    classes = target.named or tuple(sorted({name for item in items for name in item.names}))
    rows: list[Row] = []
    loose = 0
    for item in items:
        body = item.found.path.read_bytes()
        if item.found.label is None:
            write_file(out / "unlabelled" / f"{item.case}{media_types.extension_of(body)}", body)
            loose += 1
            continue
        label = _stored(item, classes)
        file = target.store(out, item.case, item.split, body, label)
        attributes = {name: value for name, value in item.found.attributes.items() if name != GROUP}
        rows.append(Row(item.case, item.split, "imported", file, attributes, item.group))
    target.finish(out, rows, classes)
    counts = Counter(item.split for item in items if item.found.label is not None)
    notes += _about_classes(items, classes) if rows else []
    return ImportResult(counts["train"], counts["val"], counts["test"], loose, tuple(notes))


def _stored(item: Item, classes: Sequence[str]) -> bytes | str:
    label = item.found.label
    if isinstance(label, str):
        return label
    return yolo_labels.text_of(label or (), classes, item.look.width, item.look.height).encode()


def _about_classes(items: Sequence[Item], classes: Sequence[str]) -> list[str]:
    """What a person should know before training: classes that are missing, or rare."""
    count: Callable[[str], Counter[str]] = lambda split: Counter(  # noqa: E731
        name for item in items if item.split == split for name in item.names
    )
    train, test = count("train"), count("test")
    missing = [name for name in classes if not train[name]]
    rare = [f"{name} ({train[name]})" for name in classes if 0 < train[name] < RARE]
    unseen = [name for name in classes if train[name] and not test[name]]
    shown = [
        (f"no picture of {len(missing)} of the {len(classes)} classes, which cannot be learnt", missing),
        (f"fewer than {RARE} training pictures", rare),
        ("no held-out picture, so nobody will know how well they do", unseen),
    ]
    return [f"{said}: {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}" for said, names in shown if names]
