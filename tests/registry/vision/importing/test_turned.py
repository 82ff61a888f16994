"""Pictures that EXIF turns: boxes stay on their objects."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from registry.vision.picture import decode
from tests.registry.vision import layouts
from tests.registry.vision.importing.taken import boxes_at
from tests.registry.vision.layouts import OURS, One, put, some
from tests.registry.vision.made import HEIGHT, WIDTH, box_set

MARKS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}


def lying(body: bytes, orientation: int) -> bytes:
    """The same picture as a camera held on its side stores it."""
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    stored = cv2.rotate(pixels, MARKS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(stored[:, :, ::-1]).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("orientation", MARKS)
def test_boxes_of_turned_pictures_stay_on_their_objects(orientation: int, source: Path, out: Path) -> None:
    ones = [One(one.name, one.split, lying(one.body, orientation), one.boxes) for one in some()]
    layouts.yolo(source, ones)  # shares of the upright picture
    box_set().import_from(source, out, {})
    found = boxes_at(out)
    for one in ones:
        wanted = [box.box for box in one.boxes if box.name in OURS]
        assert len(found[one.name]) == len(wanted)
        for (_, pixels), box in zip(found[one.name], wanted, strict=True):
            assert np.abs(pixels - box).max() < 0.5
    colour = {"disc": (40, 60, 220), "square": (220, 90, 40), "yellow_vest": (30, 220, 230)}
    for case in box_set().cases(out):
        upright = decode(case.input.read_bytes(), 10**6).pixels
        for name, (x1, y1, x2, y2) in found[case.id]:
            middle = upright[round((y1 + y2) / 2), round((x1 + x2) / 2)]
            assert np.abs(middle.astype(int) - colour[name]).max() < 40


def test_boxes_drawn_on_the_stored_picture_are_turned_with_it(source: Path, out: Path) -> None:
    """Programs that ignore EXIF state the stored size; its boxes are turned for orientations 6 and 8 alike."""
    ones = some()
    images, notes = [], []
    for n, one in enumerate(ones):
        orientation = (6, 8)[n % 2]
        put(source / one.split / f"{one.name}.jpg", lying(one.body, orientation))
        images.append({"id": n, "file_name": f"{one.split}/{one.name}.jpg", "width": HEIGHT, "height": WIDTH})
        for box in one.boxes:
            x1, y1, x2, y2 = box.box
            stored = (y1, WIDTH - x2, y2, WIDTH - x1) if orientation == 6 else (HEIGHT - y2, x1, HEIGHT - y1, x2)
            bbox = [stored[0], stored[1], stored[2] - stored[0], stored[3] - stored[1]]
            notes.append({"id": len(notes), "image_id": n, "category_id": layouts.THEIRS.index(box.name), "bbox": bbox})
    categories = [{"id": n, "name": name} for n, name in enumerate(layouts.THEIRS)]
    put(source / "all.json", json.dumps({"images": images, "annotations": notes, "categories": categories}))
    box_set().import_from(source, out, {})
    for one in ones:
        wanted = [box.box for box in one.boxes if box.name in OURS]
        for (_, pixels), box in zip(boxes_at(out)[one.name], wanted, strict=True):
            assert np.abs(pixels - box).max() < 0.5
