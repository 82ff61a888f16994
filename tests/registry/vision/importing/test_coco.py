"""COCO json that does not fit its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.errors import DataError
from tests.registry.vision import layouts
from tests.registry.vision.layouts import some
from tests.registry.vision.made import box_set


def spoil_coco(root: Path, **change: object) -> None:
    layouts.coco(root, some())
    path = root / "annotations" / "instances_train2017.json"
    body = json.loads(path.read_text())
    for key, value in change.items():
        body[key][0 if key == "images" else 1].update(value)
    path.write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": {"file_name": "gone.jpg"}}, "gone.jpg"),
        ({"images": {"file_name": "../../../../etc/passwd"}}, "passwd"),
        ({"images": {"width": 640, "height": 480}}, "its label is for 640 x 480 pixels, it has 96 x 72"),
        ({"annotations": {"image_id": 999}}, "there is no image 999"),
        ({"annotations": {"bbox": [1, 2, "x"]}}, "its bbox [1, 2, 'x'] is not four numbers"),
        ({"annotations": {"category_id": 3}}, "there is no category 3"),
        ({"annotations": {"bbox": [90, 60, 400, 300]}}, "outside of its 96 x 72 pixels"),
    ],
)
def test_coco_that_does_not_fit_its_pictures_is_named(change, said: str, source: Path, out: Path) -> None:
    spoil_coco(source, **change)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert said in caught.value.found
