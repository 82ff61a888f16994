"""COCO json as programs write it, and json that does not fit its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.cases.records import ImportResult
from registry.core.errors import DataError
from registry.formats.outlines import of_segmentation
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import OURS, some
from tests.registry.made import box_set

TRAIN = "annotations/instances_train2017.json"


def spoil_coco(root: Path, **change: object) -> None:
    layouts.coco(root, some())
    path = root / TRAIN
    body = json.loads(path.read_text())
    for key, value in change.items():
        body[key][0 if key == "images" else 1].update(value)
    path.write_text(json.dumps(body))


def changed(root: Path, change: Callable[[dict[str, Any]], None], out: Path) -> ImportResult:
    """An import after `change` of both json files; every box is the one that was written."""
    ones = some()
    layouts.coco(root, ones)
    for path in root.rglob("*.json"):
        body = json.loads(path.read_text())
        change(body)
        path.write_text(json.dumps(body))
    taken = box_set().import_from(root, out, {})
    wanted = [box.box for one in ones for box in one.boxes if box.name in OURS]
    found = [pixels for boxes in boxes_at(out).values() for _, pixels in boxes]
    assert np.abs(np.array(found) - np.array(wanted)).max() < 0.5
    return taken


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"file_name": "gone.jpg"}}, "gone.jpg"),
        ({"images": {"file_name": "../../../../etc/passwd"}}, "passwd"),
        ({"images": {"width": 640, "height": 480}}, "its label is for 640 x 480 pixels, it has 96 x 72"),
        ({"annotations": {"image_id": 999}}, "there is no image 999"),
        ({"annotations": {"bbox": [1, 2, "x"]}}, "its bbox [1, 2, 'x'] is not four numbers"),
        ({"annotations": {"category_id": 3}}, "there is no category 3"),
        ({"annotations": {"bbox": [90, 60, 400, 300]}}, "outside of its 96 x 72 pixels"),
        ({"annotations": {"bbox": [0.1, 0.2, 0.4, 0.3]}}, "looks normalized"),
        ({"annotations": {"bbox": None, "segmentation": {"counts": "?", "size": [2, 2]}}}, "neither polygons nor run"),
        ({"images": {"id": 8}}, "two images have the id 8: 'shot_00.jpg' and 'shot_01.jpg'"),
        ({"images": {"id": "8"}}, "two images have the id 8: 'shot_00.jpg' and 'shot_01.jpg'"),
        ({"images": {"id": 8.0}}, "two images have the id 8: 'shot_00.jpg' and 'shot_01.jpg'"),
        ({"images": {"id": None}}, "file_name 'shot_00.jpg' has no id"),
        ({"categories": {"id": 0}}, "two categories have the id 0: 'Yellow Vest' and 'hat'"),
        ({"categories": {"id": "20"}}, "two categories have the id 20: 'hat' and 'Square'"),
    ],
)
def test_coco_that_does_not_fit_its_pictures_is_named(change, message: str, source: Path, out: Path) -> None:
    spoil_coco(source, **change)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert message in caught.value.found
    assert TRAIN in caught.value.found or "shot_0" in caught.value.found


def every(key: str, **change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(body: dict[str, Any]) -> None:
        for entry in body[key]:
            for name, value in change.items():
                entry[name] = value(entry[name])

    return apply


def polygon(bbox: list[float]) -> list[list[float]]:
    x, y, w, h = bbox
    return [[x, y, x + w, y, x + w, y + h / 2], [x, y + h / 2, x + w, y + h]]


def outlines_only(nested: bool = False, bbox: object = None) -> Callable[[dict[str, Any]], None]:
    def apply(body: dict[str, Any]) -> None:
        for entry in body["annotations"]:
            parts = polygon(entry.pop("bbox"))
            pairs = [[part[n : n + 2] for n in range(0, len(part), 2)] for part in parts]
            entry["segmentation"] = pairs if nested else parts
            if bbox is not None:
                entry["bbox"] = bbox

    return apply


def masks_only(body: dict[str, Any]) -> None:
    for entry in body["annotations"]:
        x, y, w, h = map(round, entry.pop("bbox"))
        mask = np.zeros((layouts.HEIGHT, layouts.WIDTH), np.uint8)
        mask[y : y + h, x : x + w] = 1
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, len(flat)]).tolist()
        entry["segmentation"] = {"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)}


@pytest.mark.parametrize(
    "change",
    [
        every("annotations", image_id=str),
        every("annotations", image_id=float, category_id=str),
        every("images", id=str),
        every("images", id=lambda value: f"{value:012d}"),
        every("categories", id=lambda value: f"{value}.0"),
        every("annotations", bbox=lambda bbox: [str(value) for value in bbox]),
        every("annotations", iscrowd=str),
        every("annotations", iscrowd=bool),
        outlines_only(),
        outlines_only(nested=True),
        outlines_only(bbox=[]),
        outlines_only(bbox=[0, 0, 0, 0]),
        outlines_only(bbox=[None] * 4),
        masks_only,
        every("annotations", bbox=lambda box: [box[0] + box[2], box[1] + box[3], -box[2], -box[3]]),
        lambda body: body["annotations"].extend([dict(entry, id=-1) for entry in body["annotations"]]),
        lambda body: body["images"].append(dict(body["images"][0])),
        lambda body: body["annotations"].append({"id": -1, "image_id": 7, "category_id": 0}),
        every("images", file_name=lambda name: f"C:\\data\\pictures\\{name}"),
        lambda body: body.update(
            annotations=[
                {"image_id": image["id"], "file_name": "x.png", "segments_info": [
                    {k: v for k, v in entry.items() if k != "image_id"}
                    for entry in body["annotations"] if entry["image_id"] == image["id"]]}
                for image in body["images"]
            ]
        ),
    ],
)  # fmt: skip
def test_what_programs_write_comes_in_as_its_boxes(change, source: Path, out: Path) -> None:
    taken = changed(source, change, out)
    assert (taken.train, taken.val) == (8, 4)


def test_what_was_done_with_the_boxes_is_counted(source: Path, out: Path) -> None:
    def change(body: dict[str, Any]) -> None:
        x, y, w, h = body["annotations"][0]["bbox"]
        body["annotations"].append(dict(body["annotations"][0], bbox=[x + w, y, -w, h], score=0.8))
        body["annotations"].append({"id": -1, "image_id": 7, "category_id": 0, "bbox": []})
        body["annotations"].append(dict(body["annotations"][0], iscrowd=1))

    notes = "\n".join(changed(source, change, out).notes)
    assert "3 boxes were drawn from another corner" in notes
    assert "3 duplicate boxes left out" in notes
    assert "3 annotations with neither bbox nor outline left out" in notes
    assert "3 crowd regions left out" in notes
    assert "3 boxes have a score: predictions used as labels" in notes


def test_normalized_boxes_are_recognised_and_noted(source: Path, out: Path) -> None:
    by = (layouts.WIDTH, layouts.HEIGHT) * 2
    shares = every("annotations", bbox=lambda box: [value / side for value, side in zip(box, by, strict=True)])
    assert any("read as fractions" in note for note in changed(source, shares, out).notes)


def test_the_files_of_cocos_other_tasks_are_left_out(source: Path, out: Path) -> None:
    """As the official folder: instances, keypoints, captions, stuff and panoptic for the same pictures."""
    ones = some()
    layouts.coco(source, ones)
    for task in ("person_keypoints", "captions", "stuff", "panoptic"):
        for split in ("train", "val"):
            body = json.loads((source / "annotations" / f"instances_{split}2017.json").read_text())
            for entry in body["annotations"]:
                entry["bbox"] = [1, 1, 5, 5]
            if task == "captions":
                del body["categories"]
            (source / "annotations" / f"{task}_{split}2017.json").write_text(json.dumps(body))
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)
    assert sum("labels the same pictures" in note for note in taken.notes) == 6
    wanted = [box.box for one in ones for box in one.boxes if box.name in OURS]
    assert np.abs(np.array([p for boxes in boxes_at(out).values() for _, p in boxes]) - np.array(wanted)).max() < 0.5


def test_keypoints_alone_are_read_for_their_boxes(source: Path, out: Path) -> None:
    layouts.coco(source, some())
    for path in source.rglob("*.json"):
        path.rename(path.with_name(path.name.replace("instances", "person_keypoints")))
    assert box_set().import_from(source, out, {}).train == 8


def test_two_files_that_label_one_picture_are_both_named(source: Path, out: Path) -> None:
    layouts.coco(source, some())
    (source / "annotations" / "second.json").write_bytes((source / TRAIN).read_bytes())
    with pytest.raises(DataError, match=r"'shot_00\.jpg' is also in annotations/instances_train2017\.json"):
        box_set().import_from(source, out, {})


def test_one_damaged_file_of_two_stops_the_import(source: Path, out: Path) -> None:
    layouts.coco(source, some())
    path = source / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"annotations/instances_val2017\.json is not JSON"):
        box_set().import_from(source, out, {})


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        # Worked out by hand: 3 high, 4 wide, columns first; 1s at (1, 1), (1, 2) and (2, 0).
        ({"size": [3, 4], "counts": [4, 3, 5]}, (1, 0, 3, 3)),
        ({"size": [3, 4], "counts": "435"}, (1, 0, 3, 3)),
        # A run of 100 takes two characters, 36 + 32 and 3; the third run and those after it are differences.
        ({"size": [10, 20], "counts": "T32`2"}, (10, 0, 11, 2)),
        ({"size": [3, 4], "counts": [0, 12]}, (0, 0, 4, 3)),
        ({"size": [3, 4], "counts": [12]}, None),
        ({"size": [3, 4], "counts": "\x07"}, None),
        ([[1, 2, 5, 2, 5, 9]], (1, 2, 5, 9)),
        ([1, 2, 5, 2, 5, 9], (1, 2, 5, 9)),
        ([[[1, 2], [5, 2], [5, 9]]], (1, 2, 5, 9)),
        ([[1, 2, 5]], None),
        ([], None),
        ("polygon", None),
    ],
)
def test_the_box_around_an_outline_or_a_mask(segmentation: object, box: object) -> None:
    assert of_segmentation(segmentation) == box
