"""Pictures with boxes: YOLO (also Roboflow's), COCO json, Pascal VOC xml, or a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.formats import coco, csv_tables, voc, yolo
from registry.formats.source_folder import SourceFolder
from registry.formats.sources import ClassMatcher, ReadResult

LAYOUTS = (
    "YOLO: data.yaml with images/ and labels/ (Roboflow: train/images, train/labels, valid/...); "
    "COCO: instances_*.json with the images; Pascal VOC: Annotations/*.xml with JPEGImages/; "
    "a csv with columns path, label, x1, y1, x2, y2 and, if there is one, split"
)


def read(folder: SourceFolder, matcher: ClassMatcher, classes: Sequence[str]) -> ReadResult | None:
    """The first format that labels a picture or has a problem; else the first that is there; None without any.
    `classes`: the model's."""
    first: ReadResult | None = None
    for result in _results(folder, matcher, classes):
        if result is not None and (result.labelled or result.problems):
            return result
        first = first or result
    return first


def _results(folder: SourceFolder, matcher: ClassMatcher, classes: Sequence[str]) -> Iterator[ReadResult | None]:
    """One format after the other; a later one is read only if the earlier gave nothing."""
    if configs := yolo.configs_from_yaml(folder, matcher):
        result = yolo.read(folder, configs[0], matcher)
        if len(configs) > 1:
            names = ", ".join(folder.relative(config.path) for config in configs)
            result.problems.insert(0, f"{names} number the classes differently: import their folders one by one")
        yield result
    yield coco.read(folder, matcher)
    if paths := voc.annotation_files(folder):
        yield voc.read(folder, paths, matcher)
    yield csv_tables.read_boxes(folder, matcher, classes)
    if config := yolo.config_from_list(folder, matcher):
        yield yolo.read(folder, config, matcher)
