"""Imports other people's pictures and labels: reads all of them first, then copies them into a data set.

Classes are matched by name. Case, spaces, dashes and underscores do not count, and the parameter `map` renames. The
source's splits are kept; those that it lacks are set aside by the hash of the files' names
(`registry.datasets.splitting`), class by class where pictures have classes. Look-alikes stay in one split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from registry.cases import groups, inspection, mask_labels, yolo_labels
from registry.cases.mask_labels import MaskLabel
from registry.cases.picture_facts import PictureFacts, PictureFactsCache
from registry.cases.records import MOST_NAMED, ImportResult, not_learnt
from registry.cases.splits import Shares
from registry.cases.table import GROUP, Row, slug
from registry.core import archives
from registry.core.errors import BadInput, DataError
from registry.core.files import write_file
from registry.core.media import Parameters
from registry.datasets import box_units
from registry.datasets.splitting import Item, assign_splits
from registry.formats import boxes as box_formats
from registry.formats import classes as class_formats
from registry.formats import masks as mask_formats
from registry.formats.source_folder import SourceFolder, first_few, nfc
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase
from registry.vision import media_types

MAX_SHOWN = 20
LABEL_SUFFIXES = (".txt", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml")
RARE = 10
"""Training cases of a class below which the notes warn."""


LAYOUTS: Mapping[str, str] = {
    "classes": class_formats.LAYOUTS,
    "boxes": box_formats.LAYOUTS,
    "masks": mask_formats.LAYOUTS,
}
"""Kind of label -> the formats that are read."""


class Target(Protocol):
    """The data set that an import fills, e.g. `registry.datasets.picture_set.PictureSet`.

    `labels`: their kind, a key of `LAYOUTS`.
    """

    model: str
    labels: str
    fixed_classes: tuple[str, ...] | None

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str: ...

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None: ...


def import_into(target: Target, source: Path, out: Path, params: Parameters) -> ImportResult:
    """Imports as `DataPart.import_from` says.

    Args:
        target: the data set's kind; its classes are the model's.
        source: a folder or a .zip, in a format of `LAYOUTS`.
        params:
            `val_share`, `test_share`: see `registry.cases.splits.Shares`.
            `map`: the source's class names -> the model's.
            `look_alikes`: `drop` (default) or `keep` pictures that are nearly the same as held-out ones.
            `group_pattern`: see `registry.cases.groups.named`. By default, a table's column holds the groups.

    Raises:
        DataError: there is nothing to import, some files cannot be used (up to 20 are named), or no class is one of the
            model's.
    """
    with archives.as_folder(source) as root:
        folder = SourceFolder(root)
        matcher = ClassMatcher(target.fixed_classes, params.get("map") or {})
        result = _read(target, folder, matcher, source)
        facts = _read_facts(result, folder)
        items = _items(result, facts, folder)
        if result.problems:
            raise _unusable(result, source)
        _require_labels(target, items, matcher, result, source)
        keep = params.get("look_alikes") == "keep"
        items = _grouped(items, params.get("group_pattern") or "", folder, result)
        items, notes = assign_splits(items, Shares.of(params), keep)
        if keep:
            write_file(out / inspection.KEPT, inspection.KEPT_TEXT)
        return _write(
            target, out, items, [*result.notes, *_class_name_notes(matcher, target.fixed_classes or ()), *notes]
        )


def _read(target: Target, folder: SourceFolder, matcher: ClassMatcher, source: Path) -> ReadResult:
    layouts = LAYOUTS[target.labels]
    suffixes = Counter(path.suffix.lower() for path in folder.unsupported)
    unsupported = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(suffixes.items()))
    if not folder.pictures:
        raise DataError(
            f"there is no picture in {source}" + (f" in a supported format: {unsupported}" if unsupported else ""),
            expected=layouts,
            fix="convert them to JPEG or PNG" if unsupported else "name the folder that holds the pictures",
        )
    result = _read_labels(target, folder, matcher)
    if result is None and not folder.with_suffix(*LABEL_SUFFIXES):
        result = ReadResult("pictures without labels", [SourceCase(path) for path in folder.pictures])
    unread = list(dict.fromkeys(folder.unread))
    if result is None:
        raise DataError(
            f"{len(folder.pictures)} pictures in {source}, but no boxes in a known format"
            + "".join(f"\n  {text}" for text in unread[:MAX_SHOWN]),
            expected=layouts,
            fix="fix these files and import again; nothing was imported"
            if unread
            else "name the folder that holds both pictures and labels, or export them in one of these formats",
        )
    result.notes.insert(0, f"read as {result.format}")
    if target.labels == "boxes":
        result.notes += [f"not read: {text}" for text in unread]
    else:
        result.problems += unread  # a table may overrule the folders
    result.notes += folder.encoding_notes()
    result.notes += [f"pictures in unsupported formats, convert them first: {unsupported}"] if unsupported else []
    return result


def _read_labels(target: Target, folder: SourceFolder, matcher: ClassMatcher) -> ReadResult | None:
    if target.labels == "classes":
        return class_formats.read(folder, matcher)
    read = box_formats.read if target.labels == "boxes" else mask_formats.read
    return read(folder, matcher, target.fixed_classes or ())


def _read_facts(result: ReadResult, folder: SourceFolder) -> list[PictureFacts]:
    with PictureFactsCache() as cache:
        facts = cache.at_files([case.path for case in result.cases], inspection.THREADS)
    result.problems += [
        f"{folder.relative(case.path)}: {fact.problem.split(': ', 1)[-1]}"
        for case, fact in zip(result.cases, facts, strict=True)
        if fact.problem
    ]
    return facts


def _items(result: ReadResult, facts: Sequence[PictureFacts], folder: SourceFolder) -> list[Item]:
    """The cases under unique names, with boxes in pixels of the upright picture."""
    names = _case_names([folder.relative(case.path) for case in result.cases])
    labelled = (case.path if isinstance(case.label, tuple) else None for case in result.cases)
    with ThreadPoolExecutor(inspection.THREADS) as pool:
        sizes = list(pool.map(lambda path: box_units.stored_size(path) if path else None, labelled))
    cases = box_units.to_upright_pixels(result, facts, sizes, folder.relative)
    result.notes += [f"{count} {what}" for what, count in sorted(result.counts.items()) if count]
    for case, fact in zip(cases, facts, strict=True):
        if isinstance(case.label, MaskLabel) and not fact.problem:
            try:
                mask_labels.check_size(case.label, fact.width, fact.height)
            except BadInput as error:
                result.problems.append(f"{folder.relative(case.path)}: {error.found}, {error.expected} are needed")
    items = [Item(case, fact, name) for case, fact, name in zip(cases, facts, names, strict=True)]
    return sorted(items, key=lambda item: item.name)


def _case_names(paths: Sequence[str]) -> list[str]:
    """A unique name for each: the file's own, or with its folders where that is not unique."""
    paths = [nfc(path) for path in paths]  # one name for one picture, whichever system packed it
    stems = [slug(Path(path).stem) for path in paths]
    counts = Counter(stem.casefold() for stem in stems)
    longer = [slug(path.rpartition(".")[0].replace("/", "-")) for path in paths]
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


def _unusable(result: ReadResult, source: Path) -> DataError:
    count = len(result.problems)
    more = f"\n  and {count - MAX_SHOWN} more" if count > MAX_SHOWN else ""
    return DataError(
        f"{count} problems in {source}, {result.notes[0]}:\n  " + "\n  ".join(result.problems[:MAX_SHOWN]) + more,
        expected="readable pictures, and labels that fit them",
        fix="fix or remove these and import again; nothing was imported",
    )


def _grouped(items: Sequence[Item], pattern: str, folder: SourceFolder, result: ReadResult) -> list[Item]:
    """Sets the groups that the file names of labelled pictures give."""
    if not pattern:
        return list(items)
    labelled = {item.name: folder.relative(item.case.path) for item in items if item.case.label is not None}
    found, notes = groups.named(labelled, pattern)
    result.notes += notes
    return [
        replace(item, case=replace(item.case, attributes={**item.case.attributes, GROUP: found.get(item.name, "")}))
        for item in items
    ]


def _require_labels(
    target: Target, items: Sequence[Item], matcher: ClassMatcher, result: ReadResult, source: Path
) -> None:
    labelled = [item for item in items if item.case.label is not None]
    if not labelled and not matcher.unmatched and items:
        return  # pictures only: for prediction
    if matcher.unmatched and not any(item.classes for item in labelled):
        raise DataError(
            f"no class in {source} is one of {target.model}: {_most_common(matcher.unmatched)} ({result.format})",
            expected=f"some of {', '.join((target.fixed_classes or ())[:20])}",
            fix="rename them during the import with --map THEIRS=OURS, or import into the model that has these classes",
        )
    if len(labelled) == 1:
        raise DataError(
            f"there is only one labelled picture in {source}: {labelled[0].case.path.name}",
            expected="some to train on and some held out, ten or more a class",
            fix="label more pictures; nothing was imported",
        )


def _class_name_notes(matcher: ClassMatcher, classes: Sequence[str]) -> list[str]:
    merged = ", ".join(f"{spelt} ({kept})" for spelt, kept in sorted(matcher.respelt)[:12])
    notes = [f"spellings of one class name, merged: {merged}"] if merged else []
    if matcher.unmatched:
        notes.append(f"left out, not among the model's classes: {_most_common(matcher.unmatched)}")
    for name in matcher.unmatched:
        if close := get_close_matches(name, classes, 1, cutoff=0.75):
            notes.append(f"did you mean {close[0]} by {name}? import again with --force --map {name}={close[0]}")
    return notes


def _most_common(counts: Counter[str]) -> str:
    return first_few([f"{name} ({count})" for name, count in counts.most_common()], 12)


def _write(target: Target, out: Path, items: Sequence[Item], notes: list[str]) -> ImportResult:
    classes = target.fixed_classes or tuple(sorted({name for item in items for name in item.classes}))
    rows: list[Row] = []
    for item in items:
        body = item.case.path.read_bytes()
        if item.case.label is None:
            write_file(out / "unlabelled" / f"{item.name}{media_types.extension_of(body)}", body)
            continue
        file = target.store(out, item.name, item.split, body, _label_content(item, classes))
        attributes = {name: value for name, value in item.case.attributes.items() if name != GROUP}
        rows.append(Row(item.name, item.split, "imported", file, attributes, item.group))
    target.finish(out, rows, classes)
    counts = Counter(row.split for row in rows)
    notes += _class_count_notes(items, classes) if rows else []
    return ImportResult(counts["train"], counts["val"], counts["test"], len(items) - len(rows), tuple(notes))


def _label_content(item: Item, classes: Sequence[str]) -> bytes | str:
    label = item.case.label
    if isinstance(label, str | MaskLabel):
        return label if isinstance(label, str) else label.png
    return yolo_labels.text_of(label or (), classes, item.facts.width, item.facts.height).encode()


def _class_count_notes(items: Sequence[Item], classes: Sequence[str]) -> list[str]:
    """Warnings before training: classes that are missing or rare."""

    def count(split: str) -> Counter[str]:
        return Counter(name for item in items if item.split == split for name in item.classes)

    train, test = count("train"), count("test")
    missing = [name for name in classes if not train[name]]
    rare = [f"{name} ({train[name]})" for name in classes if 0 < train[name] < RARE]
    unseen = [name for name in classes if train[name] and not test[name]]
    warnings = [
        (f"fewer than {RARE} training pictures", rare),
        ("no test picture, so their score stays unknown", unseen),
    ]
    lacking = [text] if (text := not_learnt(missing, len(classes))) else []
    return lacking + [
        f"{text}: {', '.join(names[:MOST_NAMED])}{' ...' if len(names) > MOST_NAMED else ''}"
        for text, names in warnings
        if names
    ]
