"""One small labelled set, written in each of the formats that people have theirs in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import yaml

from registry.cases.splits import SPLITS
from registry.cases.yolo_labels import LabelBox, text_of
from tests.registry.made import CLASSES, HEIGHT, WIDTH, scene

# Another order, another spelling, and one class more than the model has.
THEIRS = ("Yellow Vest", "hat", "Square", "DISC")
OURS = {"Yellow Vest": "yellow_vest", "Square": "square", "DISC": "disc"}


@dataclass(frozen=True)
class One:
    name: str
    split: str
    body: bytes
    boxes: tuple[LabelBox, ...]


def some(train: int = 8, val: int = 4, test: int = 4, seed: int = 1) -> list[One]:
    """With boxes named as `THEIRS`; every fourth picture is empty, every sixth has a hat, too."""
    found = []
    for n in range(train + val + test):
        names = tuple(CLASSES[(n + k) % 3] for k in range((0, 1, 2, 1)[n % 4]))
        body, boxes = scene(np.random.default_rng([seed, n]), names)
        theirs = {ours: name for name, ours in OURS.items()}
        renamed = [LabelBox(theirs[one.name], one.box) for one in boxes]
        hat = [LabelBox("hat", (1.0, 2.0, 11.0, 12.0))] if n % 6 == 5 else []
        found.append(
            One(f"shot_{n:02d}", "train" if n < train else "val" if n < train + val else "test", body, (*renamed, *hat))
        )
    return found


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def yolo(root: Path, ones: Sequence[One]) -> None:
    for one in ones:
        put(root / "images" / one.split / f"{one.name}.jpg", one.body)
        put(root / "labels" / one.split / f"{one.name}.txt", text_of(one.boxes, THEIRS, WIDTH, HEIGHT))
    put(root / "data.yaml", yaml.safe_dump({**{split: f"images/{split}" for split in SPLITS}, "names": list(THEIRS)}))


def roboflow(root: Path, ones: Sequence[One]) -> None:
    for one in ones:
        folder = root / {"train": "train", "val": "valid", "test": "test"}[one.split]
        put(folder / "images" / f"{one.name}_jpg.rf.0123abcd.jpg", one.body)
        text = text_of(one.boxes, THEIRS, WIDTH, HEIGHT).rstrip()
        put(folder / "labels" / f"{one.name}_jpg.rf.0123abcd.txt", text)
    body = {
        "train": "../train/images",
        "val": "../valid/images",
        "test": "../test/images",
        "nc": 4,
        "names": list(THEIRS),
    }
    put(root / "data.yaml", yaml.safe_dump(body))
    put(root / "README.roboflow.txt", "exported on ...\n")


def darknet(root: Path, ones: Sequence[One]) -> None:
    """Labels beside the pictures and a list of names, as LabelImg leaves them; the splits are folders."""
    for one in ones:
        put(root / one.split / f"{one.name}.jpg", one.body)
        put(root / one.split / f"{one.name}.txt", text_of(one.boxes, THEIRS, WIDTH, HEIGHT))
    put(root / "classes.txt", "\n".join(THEIRS))


def coco(root: Path, ones: Sequence[One]) -> None:
    for split in SPLITS:
        mine = [one for one in ones if one.split == split]
        images = [
            {"id": 7 + n, "file_name": f"{one.name}.jpg", "width": WIDTH, "height": HEIGHT}
            for n, one in enumerate(mine)
        ]
        notes = [
            {"id": 100 * n + k, "image_id": 7 + n, "category_id": 10 * THEIRS.index(box.name), "iscrowd": 0,
             "bbox": [box.box[0], box.box[1], box.box[2] - box.box[0], box.box[3] - box.box[1]]}
            for n, one in enumerate(mine)
            for k, box in enumerate(one.boxes)
        ]  # fmt: skip
        categories = [{"id": 10 * n, "name": name} for n, name in enumerate(THEIRS)]
        body = {"images": images, "annotations": notes, "categories": categories}
        put(root / "annotations" / f"instances_{split}2017.json", json.dumps(body))
        for one in mine:
            put(root / f"{split}2017" / f"{one.name}.jpg", one.body)


def voc(root: Path, ones: Sequence[One]) -> None:
    for one in ones:
        put(root / "JPEGImages" / f"{one.name}.jpg", one.body)
        top = Xml.Element("annotation")
        Xml.SubElement(top, "filename").text = f"{one.name}.jpg"
        size = Xml.SubElement(top, "size")
        for key, value in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
            Xml.SubElement(size, key).text = str(value)
        for box in one.boxes:
            entry = Xml.SubElement(top, "object")
            Xml.SubElement(entry, "name").text = box.name
            bounds = Xml.SubElement(entry, "bndbox")
            for key, number in zip(("xmin", "ymin", "xmax", "ymax"), box.box, strict=True):
                Xml.SubElement(bounds, key).text = str(round(number))
        put(root / "Annotations" / f"{one.name}.xml", Xml.tostring(top))
    for split in SPLITS:
        names = "\n".join(one.name for one in ones if one.split == split)
        put(root / "ImageSets" / "Main" / f"{split}.txt", names + "\n")


def table(root: Path, ones: Sequence[One]) -> None:
    for one in ones:
        put(root / "photos" / f"{one.name}.jpg", one.body)
    with (root / "boxes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "split", "xmin", "ymin", "xmax", "ymax", "weather"))
        for n, one in enumerate(ones):
            for box in one.boxes:
                writer.writerow((f"photos/{one.name}.jpg", box.name, one.split, *box.box, ("sun", "rain")[n % 2]))
            if not one.boxes:
                writer.writerow((f"photos/{one.name}.jpg", "", one.split, "", "", "", "", ("sun", "rain")[n % 2]))


def corner_and_size(root: Path, ones: Sequence[One]) -> None:
    """Semicolons, and width and height instead of the far corner."""
    lines = ["filename;class;subset;head_x;head_y;head_w;head_h"]
    for one in ones:
        put(root / f"{one.name}.jpg", one.body)
        for box in one.boxes or ():
            x1, y1, x2, y2 = box.box
            lines.append(f"{one.name}.jpg;{box.name};{one.split};{x1};{y1};{x2 - x1};{y2 - y1}")
        if not one.boxes:
            lines.append(f"{one.name}.jpg;;{one.split};;;;")
    put(root / "labels.csv", "\n".join(lines))


def boxes_by_values(root: Path, ones: Sequence[One]) -> None:
    """No column is called label; the one of classes is found by its values. Hats are not labelled here."""
    lines = ["file,shape,head_x0,head_y0,head_x1,head_y1,split,width,height"]
    for one in ones:
        put(root / f"{one.name}.jpg", one.body)
        boxes = [box for box in one.boxes if box.name in OURS]
        for box in boxes:
            lines.append(",".join(map(str, (f"{one.name}.jpg", box.name, *box.box, one.split, WIDTH, HEIGHT))))
        if not boxes:
            lines.append(f"{one.name}.jpg,,,,,,{one.split},{WIDTH},{HEIGHT}")
    put(root / "shapes.csv", "\n".join(lines))


BOXES: dict[str, Callable[[Path, Sequence[One]], None]] = {
    one.__name__: one for one in (yolo, roboflow, darknet, coco, voc, table, corner_and_size, boxes_by_values)
}


def class_of(one: One) -> str | None:
    """A picture of one thing, for formats that know no boxes."""
    return one.boxes[0].name if one.boxes else None


def _labelled(ones: Sequence[One]) -> Iterator[tuple[One, str]]:
    return ((one, name) for one in ones if (name := class_of(one)))


def class_folders(root: Path, ones: Sequence[One]) -> None:
    for one, name in _labelled(ones):
        put(root / one.split / name / f"{one.name}.jpg", one.body)


def fruits_360(root: Path, ones: Sequence[One]) -> None:
    for one, name in _labelled(ones):
        put(
            root / {"train": "Training", "val": "Validation", "test": "Test"}[one.split] / name / f"{one.name}.jpg",
            one.body,
        )


def class_table(root: Path, ones: Sequence[One]) -> None:
    lines = ["image,category,set,who,number"]
    for n, (one, name) in enumerate(_labelled(ones)):
        put(root / "all" / f"{one.name}.jpg", one.body)
        lines.append(f"{one.name}.jpg,{name},{one.split},{('ann', 'bob')[n % 2]},{n}")
    put(root / "list.csv", "\n".join(lines))


def column_by_values(root: Path, ones: Sequence[One]) -> None:
    """Nothing is called label, but one column holds classes only."""
    lines = ["file,shape,split,light"]
    for n, (one, name) in enumerate(_labelled(ones)):
        if name in OURS:
            put(root / f"{one.name}.jpg", one.body)
            lines.append(f"{one.name}.jpg,{name},{one.split},{('day', 'night')[n % 2]}")
    put(root / "list.csv", "\n".join(lines))


CLASS_FORMATS: dict[str, Callable[[Path, Sequence[One]], None]] = {
    one.__name__: one for one in (class_folders, fruits_360, class_table, column_by_values)
}
