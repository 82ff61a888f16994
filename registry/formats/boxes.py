"""Pictures with boxes, as other people keep them: YOLO (also Roboflow's), COCO json, Pascal VOC xml, a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from registry.formats import box_table, coco, voc, yolo
from registry.formats.source_folder import Folder
from registry.formats.sources import Names, Reading

LAYOUTS = (
    "YOLO: data.yaml with images/ and labels/ (Roboflow: train/images, train/labels, valid/...); "
    "COCO: instances_*.json with the images; Pascal VOC: Annotations/*.xml with JPEGImages/; "
    "a csv with columns path, label, x1, y1, x2, y2 and, if there is one, split"
)


def read(folder: Folder, names: Names, classes: Sequence[str]) -> Reading | None:
    """The first format that labels a picture, or has something wrong with it; else the first that is there; None if
    there is none. `classes`: the model's."""
    first: Reading | None = None
    for reader in _readers(folder, names, classes):
        reading = reader()
        if reading is None:
            continue
        if reading.labelled or reading.problems:
            return reading
        first = first or reading
    return first


def _readers(folder: Folder, names: Names, classes: Sequence[str]) -> Iterator[Callable[[], Reading | None]]:
    """One format after the other; a later one is looked for only if the earlier gave nothing."""
    if yamls := yolo.from_yaml(folder, names):
        yield lambda: _yolo(folder, yamls, names)
    yield lambda: coco.read(folder, names)
    if xmls := voc.sources(folder):
        yield lambda: voc.read(folder, xmls, names)
    yield lambda: box_table.read(folder, names, classes)
    if listed := yolo.from_list(folder, names):
        yield lambda: yolo.read(folder, listed, names)


def _yolo(folder: Folder, yamls: Sequence[yolo.Configuration], names: Names) -> Reading:
    reading = yolo.read(folder, yamls[0], names)
    if len(yamls) > 1:
        several = ", ".join(folder.shown(one.source) for one in yamls)
        reading.problems.insert(0, f"{several} number the classes differently: import their folders one by one")
    return reading
