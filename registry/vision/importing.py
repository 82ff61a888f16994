"""Copies other people's pictures and labels into a data set, after reading all of them.

Classes are matched by name; case, spaces, dashes and underscores do not count, and `map` of the parameters renames.
Splits come from the source. Where it has none, `val_share` of the pictures are held out by the hash of their names,
class by class where pictures have classes; pictures that show the same stay on one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry import archives
from registry.errors import DataError
from registry.files import write_file
from registry.parts import Imported, Parameters
from registry.vision import box_formats, class_formats, headers, inspection, yolo_labels
from registry.vision.sources import Folder, Found, Names, Reading
from registry.vision.splitting import Item, splits
from registry.vision.table import Row, safe
from registry.vision.yolo_labels import TrueBox

if TYPE_CHECKING:
    from registry.vision.picture_set import PictureSet

SHOWN = 20
LABELS = (".txt", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml")
MOST_OUTSIDE = 0.1
"""A box may reach this share of the picture's side over its edge, and is cut off there; more is a mistake."""

SMALLEST_BOX = 0.5  # pixels

RARE = 10
"""Training cases of a class below which the notes warn."""


def import_into(target: PictureSet, source: Path, out: Path, params: Parameters) -> Imported:
    """As `DataPart.import_from`.

    Args:
        target: the data set's kind; its classes are the model's.
        source: a folder or a .zip; `class_formats.LAYOUTS` and `box_formats.LAYOUTS` say in which formats.
        params: `val_share` (default 0.25); `map` (the source's class names -> the model's); `look_alikes`: `drop`
            (default) or `keep` training pictures that are nearly the same as held-out ones.

    Raises:
        DataError: nothing there, files that cannot be used (all named, up to 20), or no class that the model has.
    """
    with archives.opened(source) as root:
        folder = Folder(root)
        names = Names(target.named, params.get("map") or {})
        reading = _read(target, folder, names, source)
        looks = _look(reading, folder)
        items = _items(reading, looks, folder)
        if reading.problems:
            raise _unusable(reading, source)
        _some_label(target, items, names, reading, source)
        keep = params.get("look_alikes") == "keep"
        items, notes = splits(items, float(params.get("val_share", 0.25)), keep)
        if keep:
            write_file(out / inspection.KEPT, inspection.KEPT_TEXT)
        return _write(target, out, items, [*reading.notes, *_dropped(names), *notes])


def _read(target: PictureSet, folder: Folder, names: Names, source: Path) -> Reading:
    layouts = box_formats.LAYOUTS if target.boxes else class_formats.LAYOUTS
    if not folder.pictures:
        raise DataError(f"there is no picture in {source}", expected=layouts, mend="name the folder that holds them")
    reading = box_formats.read(folder, names, target.named or ()) if target.boxes else class_formats.read(folder, names)
    if reading is None and not folder.ending(*LABELS):
        reading = Reading("pictures without labels", [Found(path) for path in folder.pictures])
    if reading is None:
        raise DataError(
            f"{len(folder.pictures)} pictures in {source}, but no boxes in a format that is known",
            expected=layouts,
            mend="name the folder that holds both pictures and labels, or export them in one of these formats",
        )
    reading.notes.insert(0, f"read as {reading.layout}")
    kinds = ", ".join(f"{ending} ({count})" for ending, count in sorted(folder.untaken().items()))
    reading.notes += [f"pictures of kinds that are not taken, convert them first: {kinds}"] if kinds else []
    return reading


def _look(reading: Reading, folder: Folder) -> list[inspection.Look]:
    with ThreadPoolExecutor(inspection.THREADS) as pool:
        looks = list(pool.map(inspection.look, (one.path for one in reading.found)))
    reading.problems += [
        f"{folder.shown(one.path)}: {look.problem.split(': ', 1)[-1]}"
        for one, look in zip(reading.found, looks, strict=True)
        if look.problem
    ]
    return looks


def _items(reading: Reading, looks: Sequence[inspection.Look], folder: Folder) -> list[Item]:
    """With boxes in pixels of the upright picture, cut off at its edges, and names of their own."""
    cases = _ids([folder.shown(one.path) for one in reading.found])
    items, changed = [], Counter[str]()
    for one, look, case in zip(reading.found, looks, cases, strict=True):
        if isinstance(one.label, tuple) and not look.problem:
            try:
                label = _upright(one.label, one.size, look, one.path)
                one = replace(one, label=_cut(label, look, changed))
            except ValueError as error:
                reading.problems.append(f"{folder.shown(one.path)}: {error}")
        items.append(Item(one, look, case))
    reading.notes += [f"{count} {what}" for what, count in sorted(changed.items()) if count]
    return sorted(items, key=lambda item: item.case)


def _upright(
    boxes: Sequence[TrueBox], said: tuple[float, float] | None, look: inspection.Look, path: Path
) -> list[TrueBox]:
    """Boxes in the label's frame of reference -> pixels of the upright picture. Raises ValueError if it has another.

    Labelling programs differ in whether they turn a picture by its EXIF orientation; where they do not, the label
    states the stored size.
    """
    here = (float(look.width), float(look.height))
    if said is None or said == here:
        return list(boxes)
    if said == (1, 1):
        return [TrueBox(one.name, _scaled(one.box, here)) for one in boxes]
    header = headers.read(path.read_bytes())
    if header.orientation >= 5 and said == (float(header.width), float(header.height)):
        return [TrueBox(one.name, _turned(one.box, said, header.orientation)) for one in boxes]
    raise ValueError(f"its label is for {said[0]:g} x {said[1]:g} pixels, it has {here[0]:g} x {here[1]:g}")


def _scaled(box: tuple[float, float, float, float], by: tuple[float, float]) -> tuple[float, float, float, float]:
    return box[0] * by[0], box[1] * by[1], box[2] * by[0], box[3] * by[1]


def _turned(
    box: tuple[float, float, float, float], stored: tuple[float, float], orientation: int
) -> tuple[float, float, float, float]:
    """A box of the stored picture in the upright one; EXIF orientations 5 to 8, which swap the axes."""
    (x1, y1, x2, y2), (width, height) = box, stored
    if orientation in (6, 7):  # the stored bottom is the upright left
        y1, y2 = height - y2, height - y1
    if orientation in (7, 8):  # the stored right is the upright top
        x1, x2 = width - x2, width - x1
    return y1, x1, y2, x2


def _cut(boxes: Sequence[TrueBox], look: inspection.Look, changed: Counter[str]) -> tuple[TrueBox, ...]:
    """Cut off at the picture's edges; without those that have no size. Raises ValueError for one far outside."""
    kept = []
    for one in boxes:
        x1, y1, x2, y2 = one.box
        w, h = look.width, look.height
        if max(-x1 / w, -y1 / h, x2 / w - 1, y2 / h - 1) > MOST_OUTSIDE:
            raise ValueError(f"a box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) outside of its {w} x {h} pixels")
        cut = (min(max(x1, 0.0), w), min(max(y1, 0.0), h), min(max(x2, 0.0), w), min(max(y2, 0.0), h))
        if min(cut[2] - cut[0], cut[3] - cut[1]) < SMALLEST_BOX:
            changed["boxes without width or height left out"] += 1
            continue
        over = max(abs(a - b) for a, b in zip(one.box, cut, strict=True))
        changed["boxes cut off at the picture's edge"] += over > yolo_labels.TOLERANCE * max(w, h)
        kept.append(TrueBox(one.name, cut))
    return tuple(kept)


def _ids(shown: Sequence[str]) -> list[str]:
    """Short names: the file's own where that is unique, else with its folders; always unique."""
    stems = [safe(Path(name).stem) for name in shown]
    counts = Counter(stem.casefold() for stem in stems)
    longer = [safe(name.rpartition(".")[0].replace("/", "-")) for name in shown]
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
        mend="mend or remove these and import again; nothing was imported",
    )


def _some_label(target: PictureSet, items: Sequence[Item], names: Names, reading: Reading, source: Path) -> None:
    labelled = [item for item in items if item.found.label is not None]
    if not labelled and not names.dropped and items:
        return  # pictures only: for prediction
    if names.dropped and not any(item.names for item in labelled):
        raise DataError(
            f"none of the classes in {source} is one of {target.model}: {_listed(names.dropped)} ({reading.layout})",
            expected=f"some of {', '.join((target.named or ())[:20])}",
            mend="rename them on the way in with --map THEIRS=OURS, or import into the model that has these classes",
        )
    if len(labelled) == 1:
        raise DataError(
            f"there is one labelled picture in {source}: {labelled[0].found.path.name}",
            expected="some to train on and some held out, ten or more a class",
            mend="label more pictures; nothing was imported",
        )


def _dropped(names: Names) -> list[str]:
    if not names.dropped:
        return []
    return [f"left out, not among the model's classes: {_listed(names.dropped)}"]


def _listed(counts: Counter[str]) -> str:
    text = ", ".join(f"{name} ({count})" for name, count in counts.most_common(12))
    return text + (f" and {len(counts) - 12} more" if len(counts) > 12 else "")


def _write(target: PictureSet, out: Path, items: Sequence[Item], notes: list[str]) -> Imported:
    classes = target.named or tuple(sorted({name for item in items for name in item.names}))
    rows: list[Row] = []
    loose = 0
    for item in items:
        body = item.found.path.read_bytes()
        if item.found.label is None:
            write_file(out / "unlabelled" / f"{item.case}{item.found.path.suffix.lower()}", body)
            loose += 1
            continue
        label = _stored(item, classes)
        file = target.store(out, item.case, item.split, body, label)
        rows.append(Row(item.case, item.split, "imported", file, item.found.attributes))
    target.finish(out, rows, classes)
    counts = Counter(item.split for item in items if item.found.label is not None)
    notes += _about_classes(items, classes) if rows else []
    return Imported(counts["train"], counts["val"], loose, tuple(notes))


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
    train, val = count("train"), count("val")
    missing = [name for name in classes if not train[name]]
    rare = [f"{name} ({train[name]})" for name in classes if 0 < train[name] < RARE]
    unseen = [name for name in classes if train[name] and not val[name]]
    shown = [
        (f"no picture of {len(missing)} of the {len(classes)} classes, which cannot be learnt", missing),
        (f"fewer than {RARE} training pictures", rare),
        ("no held-out picture, so nobody will know how well they do", unseen),
    ]
    return [f"{said}: {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}" for said, names in shown if names]
