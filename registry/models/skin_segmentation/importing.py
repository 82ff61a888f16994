"""Finds image/mask pairs in a folder of someone's own, in the layouts that the field uses."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.cases import groups
from registry.cases.splits import Shares, complete
from registry.core.errors import DataError

ENDINGS = (".nii.gz", ".nii")
LAYOUTS = (
    "<split>/<case>/image.nii.gz with mask.nii.gz; imagesTr/ with labelsTr/ (nnU-Net, Medical Segmentation Decathlon); "
    "images/ with masks/ or labels/ and equal names; X.nii.gz with X_mask.nii.gz, X_seg.nii.gz or X_label.nii.gz"
)
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"test": "test", "testing": "test"}
_IMAGE_FOLDERS = {"images", "image", "imagestr", "imagests", "imagesval"}
_MASK_FOLDERS = {"masks", "mask", "labels", "label", "labelstr", "labelsts", "labelsval", "segmentations", "seg"}
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


def find(source: Path) -> Found:
    """All pairs at or below `source`, sorted by id. Layouts: see `LAYOUTS`; splits come from folder names.

    Raises:
        DataError: no NIfTI at all, masks without images, or two cases of one name; names the files.
    """
    files = sorted(path for path in source.rglob("*") if path.name.lower().endswith(ENDINGS) and path.is_file())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not files:
        raise DataError(f"no .nii or .nii.gz file in {source}", expected=LAYOUTS, fix="name the folder that holds them")
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    splits: dict[str, str] = {}
    extra: list[str] = []
    for path in files:
        key, role = _place(path, source, files)
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
    alone = sorted(set(masks) - set(images))
    if alone:
        names = "\n  ".join(str(masks[key].relative_to(source)) for key in alone[:20])
        raise DataError(
            f"{len(alone)} masks have no image:\n  {names}",
            expected=LAYOUTS,
            fix="put the image beside each, or remove the mask; nothing was imported",
        )
    short = _ids(sorted(images))
    pairs = tuple(Pair(short[key], images[key], masks.get(key), splits[key]) for key in sorted(images))
    notes = (f"left out, neither image nor mask: {', '.join(extra[:10])}",) if extra else ()
    return Found(tuple(sorted(pairs, key=lambda p: p.id)), notes)


def assign(pairs: Sequence[Pair], shares: Shares, together: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The split of each labelled pair, by its id: its own, or by the hash of its id; and what was set aside.

    `together`: id -> group, see `registry.cases.groups`.
    """
    said = {pair.id: pair.split for pair in pairs if pair.mask is not None}
    return complete(said, shares, dict.fromkeys(said, ""), lambda cases: groups.units(cases, together, {}))


def grouped(pairs: Sequence[Pair], source: Path, pattern: str) -> tuple[dict[str, str], list[str]]:
    """Labelled pair's id -> group, by `pattern` (see `registry.cases.groups.named`) in the image's file name, or in the
    name of the case where all files are called alike; else as a `cases.csv` of ours says. And notes."""
    labelled = [pair for pair in pairs if pair.mask is not None]
    if pattern:
        alike = len({pair.image.name for pair in labelled}) == 1
        paths = {pair.id: pair.image.relative_to(source).as_posix() for pair in labelled}
        return groups.named({pair.id: pair.id for pair in labelled} if alike and "/" not in pattern else paths, pattern)
    try:
        with (source / "cases.csv").open(newline="", encoding="utf-8") as stream:
            said = {row["case"]: row["group"] for row in csv.DictReader(stream) if row.get("group")}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return {}, []
    return {pair.id: said[pair.id] for pair in labelled if pair.id in said}, []


def _stem(path: Path) -> str:
    name = path.name
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _place(path: Path, source: Path, files: Sequence[Path]) -> tuple[str, str]:
    """Which case a file belongs to, and as what: image, mask or extra."""
    folder, stem = path.parent, _stem(path)
    above = folder.relative_to(source).parts
    if above and above[-1].lower() in _IMAGE_FOLDERS | _MASK_FOLDERS:
        role = "image" if above[-1].lower() in _IMAGE_FOLDERS else "mask"
        # nnU-Net: imagesTr/x_0000 belongs to labelsTr/x; the two folders count as one place.
        place = "/".join((*above[:-1], re.sub(r"^(images?|masks?|labels?|seg\w*)", "", above[-1].lower())))
        bare = _CHANNEL.sub("", stem) if role == "image" else _MASK_SUFFIX.sub("", stem)
        return f"{place}/{bare}".lstrip("/"), role
    siblings = {_stem(other).lower() for other in files if other.parent == folder}
    if "image" in siblings:  # one folder a case
        low = stem.lower()
        return "/".join(above) or source.name, "image" if low == "image" else "mask" if low in _MASK_NAMES else "extra"
    key = "/".join((*above, _MASK_SUFFIX.sub("", stem)))
    return key, "mask" if _MASK_SUFFIX.search(stem) or stem.lower() in _MASK_NAMES else "image"


def _split(relative: Path) -> str:
    for part in relative.parts[:-1]:
        name = part.lower()
        if name in _SPLITS:
            return _SPLITS[name]
        if name in _IMAGE_FOLDERS | _MASK_FOLDERS:
            for ending, split in (("tr", "train"), ("val", "val"), ("ts", "test")):
                if name.endswith(ending):
                    return split
    return ""


def _ids(keys: Sequence[str]) -> dict[str, str]:
    """Short names: the last part of the key where that is unique, else all of it. Names that become one when written
    as a folder's (`scan 1` and `scan-1`, and on some disks `A` and `a`) are numbered in the order of the keys."""
    last = [key.rsplit("/", 1)[-1] for key in keys]
    short = {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}
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
