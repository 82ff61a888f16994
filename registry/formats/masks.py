"""Images with masks, as other people keep them: pairs of picture files (`read`), or of NIfTI files (`find`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.cases import mask_labels
from registry.core.errors import BadInput, DataError
from registry.formats.csv_tables import own_attributes
from registry.formats.source_folder import SourceFolder, collect_unreadable
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase
from registry.formats.split_lists import SourceSplits
from registry.vision.media_types import PICTURE_EXTENSIONS

_LAYOUTS = (
    "<split>/<case>/image{0} with mask{0}; imagesTr/ with labelsTr/ (nnU-Net, Medical Segmentation Decathlon); "
    "images/ with masks/ or labels/ and equal names; X{0} with X_mask{0}, X_seg{0} or X_label{0}"
)
LAYOUTS = _LAYOUTS.format(".png") + "; JPEGImages/ with SegmentationClass/ (Pascal VOC)"
_CLASSES = ("classes.txt", "labels.txt")
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"test": "test", "testing": "test"}
_IMAGE_FOLDERS = {"images", "image", "imagestr", "imagests", "imagesval", "imgs", "img", "jpegimages"}
_MASK_FOLDERS = {"masks", "mask", "labels", "label", "labelstr", "labelsts", "labelsval", "segmentations", "seg"}
_MASK_FOLDERS |= {"annotations", "segmentationclass", "gt"}
_ROLES = _IMAGE_FOLDERS | _MASK_FOLDERS
_ROLE = re.compile(r"^(images?|imgs?|jpegimages|masks?|labels?|seg\w*|annotations|gt)")
_MASK_NAMES = {"mask", "label", "seg", "segmentation", "skin_mask"}
_MASK_SUFFIX = re.compile(r"[_-](mask|label|seg|segmentation)$", re.IGNORECASE)
_CHANNEL = re.compile(r"_0000$")  # nnU-Net's channel number


@dataclass(frozen=True)
class Pair:
    """`mask` None: for prediction only. `split` "": not said."""

    id: str
    image: Path
    mask: Path | None
    split: str


@dataclass(frozen=True)
class Found:
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def read(folder: SourceFolder, matcher: ClassMatcher, classes: Sequence[str]) -> ReadResult:
    """Pictures with masks, by `find`. If a list of classes lies beside them, the masks' numbers are the list's.

    Raises:
        DataError: as `find`.
    """
    found, splits, known = find(folder.root, PICTURE_EXTENSIONS), SourceSplits(), own_attributes(folder)
    splits.add_known_lists(folder)
    result = ReadResult("pictures with masks", notes=[*found.notes, *splits.notes], problems=splits.problems)
    matched = [matcher.match(name) for name in listed_classes(folder)]
    numbers = [0, *(classes.index(name) + 1 if name else 0 for name in matched)] if matched else []
    for pair in found.pairs:
        label = None
        if pair.mask is not None:
            try:
                label = mask_labels.label_of(pair.mask.read_bytes(), classes, numbers)
            except BadInput as error:
                result.problems.append(f"{folder.relative(pair.mask)}: {error.found} (expected {error.expected})")
                continue
            result.counts["masks with greys: from half of white on they count"] += label.soft
        split = splits.listed.get(pair.image, pair.split)
        result.cases.append(SourceCase(pair.image, split, label, attributes=known.get(pair.image, {})))
    return result


def listed_classes(folder: SourceFolder) -> list[str]:
    """The classes of a list, without the background (labelme's `_background_` and `__ignore__`); [] without one."""
    for path in folder.with_suffix(".txt"):
        if path.name.lower() in _CLASSES:
            with collect_unreadable(folder.unread):
                lines = [line.strip() for line in folder.text(path).splitlines()]
                return [name for name in lines if name and not name.startswith("_") and name.lower() != "background"]
    return []


def find(source: Path, endings: tuple[str, ...]) -> Found:
    """All pairs of files with these endings at or below `source`, sorted by id; splits come from folder names.

    Raises:
        DataError: no such file, masks without images, or two cases of one name; names the files.
    """
    layouts = _LAYOUTS.format(endings[0])
    files = sorted(path for path in source.rglob("*") if path.name.lower().endswith(endings) and path.is_file())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not files:
        kinds = " or ".join(endings)
        raise DataError(f"no {kinds} file in {source}", expected=layouts, fix="name the folder that holds them")
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    splits: dict[str, str] = {}
    extra: list[str] = []
    siblings: dict[Path, set[str]] = {}
    for path in files:
        siblings.setdefault(path.parent, set()).add(_stem(path, endings).lower())
    for path in files:
        key, role = _place(path, _stem(path, endings), source, siblings[path.parent])
        if role == "extra":
            extra.append(str(path.relative_to(source)))
            continue
        table = masks if role == "mask" else images
        if key in table:
            raise DataError(
                f"two {role}s for case {key!r}: {table[key].relative_to(source)} and {path.relative_to(source)}",
                expected="one image and one mask a case", fix="rename or remove one of them",
            )  # fmt: skip
        table[key] = path
        splits[key] = splits.get(key) or _split(path.relative_to(source))
    _by_name(images, masks, splits)
    alone = sorted(set(masks) - set(images))
    if alone:
        names = "\n  ".join(str(masks[key].relative_to(source)) for key in alone[:20])
        raise DataError(
            f"{len(alone)} masks have no image:\n  {names}",
            expected=layouts,
            fix="put the image beside each, or remove the mask; nothing was imported",
        )
    short = _ids(sorted(images))
    pairs = tuple(Pair(short[key], images[key], masks.get(key), splits[key]) for key in sorted(images))
    notes = (f"left out, neither image nor mask: {', '.join(extra[:10])}",) if extra else ()
    return Found(tuple(sorted(pairs, key=lambda p: p.id)), notes)


def _by_name(images: dict[str, Path], masks: dict[str, Path], splits: dict[str, str]) -> None:
    """Gives masks that lie elsewhere to the only image of their name: `train/x.jpg` and `train_masks/x_mask.png`."""
    free: dict[str, list[str]] = {}
    for key in images.keys() - masks.keys():
        free.setdefault(key.rpartition("/")[2], []).append(key)
    for key in sorted(masks.keys() - images.keys()):
        same = free.pop(key.rpartition("/")[2], [])
        if len(same) == 1:
            masks[same[0]] = masks.pop(key)
            splits[same[0]] = splits[same[0]] or splits[key]


def _stem(path: Path, endings: tuple[str, ...]) -> str:
    return next(path.name[: -len(ending)] for ending in endings if path.name.lower().endswith(ending))


def _place(path: Path, stem: str, source: Path, siblings: set[str]) -> tuple[str, str]:
    """Which case a file belongs to, and as what: image, mask or extra. `siblings`: stems of the files in its folder."""
    above = path.parent.relative_to(source).parts
    roles = [n for n, part in enumerate(above) if part.lower() in _ROLES]
    if "image" in siblings and roles[-1:] != [len(above) - 1]:  # one folder a case
        low = stem.lower()
        return "/".join(above) or source.name, "image" if low == "image" else "mask" if low in _MASK_NAMES else "extra"
    bare = _MASK_SUFFIX.sub("", stem)
    if not roles:
        return "/".join((*above, bare)), "mask" if bare != stem or stem.lower() in _MASK_NAMES else "image"
    at = roles[-1]
    beside = bare != stem and bare.lower() in siblings
    role = "image" if above[at].lower() in _IMAGE_FOLDERS and not beside else "mask"
    # nnU-Net: imagesTr/x_0000 belongs to labelsTr/x; the two folders count as one place.
    place = (*above[:at], _ROLE.sub("", above[at].lower()), *above[at + 1 :])
    return "/".join((*filter(None, place), _CHANNEL.sub("", stem) if role == "image" else bare)), role


def _split(relative: Path) -> str:
    for part in relative.parts[:-1]:
        name = part.lower()
        if name in _SPLITS:
            return _SPLITS[name]
        if name in _ROLES:
            for ending, split in (("tr", "train"), ("val", "val"), ("ts", "test")):
                if name.endswith(ending):
                    return split
    return ""


def _ids(keys: Sequence[str]) -> dict[str, str]:
    """Short names: the last part of the key where that is unique, else all of it. Names that become one when written
    as a folder's (`scan 1` and `scan-1`, and on some disks `A` and `a`) are numbered in the order of the keys."""
    last = [key.rpartition("/")[2] for key in keys]
    counts = Counter(last)
    short = {key: end if counts[end] == 1 else key for key, end in zip(keys, last, strict=True)}
    plain = {key: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "case" for key, name in short.items()}
    taken = Counter(name.casefold() for name in plain.values())
    used: set[str] = set()
    ids = {}
    for key, name in plain.items():
        number, one = 1, name
        # A number must not make the name of another case, which is to keep its own.
        while one.casefold() in used or (number > 1 and one.casefold() in taken):
            number += 1
            one = f"{name}-{number}"
        used.add(one.casefold())
        ids[key] = one
    return ids
