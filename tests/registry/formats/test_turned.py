"""Pictures that EXIF turns: boxes stay on their objects."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from registry.vision.picture import decode
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import OURS, One, put, some
from tests.registry.made import HEIGHT, WIDTH, box_set

T = Image.Transpose
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


def stored_as(body: bytes, orientation: int) -> tuple[bytes, np.ndarray]:
    """The picture as a file of that EXIF orientation stores it, and where each stored pixel's upright one is: int
    [H, W, 2], x and y. Made by PIL's own transpositions, from the EXIF standard's table."""
    back = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90,
            7: T.TRANSVERSE, 8: T.ROTATE_270}  # fmt: skip
    image = Image.open(io.BytesIO(body))
    ys, xs = np.mgrid[: image.height, : image.width].astype(np.uint8)
    turned = [Image.fromarray(one) if orientation == 1 else Image.fromarray(one).transpose(back[orientation])
              for one in (np.asarray(image), xs, ys)]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    turned[0].save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue(), np.stack([np.asarray(one) for one in turned[1:]], axis=-1)


def stored_coco(root: Path, orientations: Sequence[int], habit: Callable[[int], bool]) -> list[One]:
    """Pictures of these orientations in turn, with boxes of their stored pixels where `habit` says so."""
    ones, images, notes = some(), [], []
    for n, one in enumerate(ones):
        orientation = orientations[n % len(orientations)]
        body, places = stored_as(one.body, orientation)
        put(root / one.split / f"{one.name}.jpg", body)
        stored = habit(orientation)
        height, width = places.shape[:2] if stored else (HEIGHT, WIDTH)
        images.append({"id": n, "file_name": f"{one.split}/{one.name}.jpg", "width": width, "height": height})
        for box in one.boxes:
            x1, y1, x2, y2 = box.box
            if stored:
                inside = (places >= (x1, y1)).all(-1) & (places < (x2, y2)).all(-1)
                y, x = np.nonzero(inside)
                x1, y1, x2, y2 = map(int, (x.min(), y.min(), x.max() + 1, y.max() + 1))
            bbox = [x1, y1, x2 - x1, y2 - y1]
            notes.append({"id": len(notes), "image_id": n, "category_id": layouts.THEIRS.index(box.name), "bbox": bbox})
    categories = [{"id": n, "name": name} for n, name in enumerate(layouts.THEIRS)]
    put(root / "all.json", json.dumps({"images": images, "annotations": notes, "categories": categories}))
    return ones


def on_their_objects(ones: Sequence[One], out: Path) -> bool:
    found = boxes_at(out)
    return all(
        np.abs(pixels - box.box).max() < 1.01
        for one in ones
        for (_, pixels), box in zip(found[one.name], [b for b in one.boxes if b.name in OURS], strict=True)
    )


ALL = (1, 2, 3, 4, 5, 6, 7, 8)


@pytest.mark.parametrize("orientations", [ALL, (2, 6), (3, 8), (4, 5), (1, 7)])
def test_one_picture_that_lies_on_its_side_proves_how_all_boxes_were_drawn(
    orientations, source: Path, out: Path
) -> None:
    ones = stored_coco(source, orientations, lambda orientation: True)
    taken = box_set().import_from(source, out, {})
    assert on_their_objects(ones, out)
    assert not any("EXIF" in note for note in taken.notes)


@pytest.mark.parametrize("orientations", [ALL, (2, 6)])
def test_boxes_of_upright_pictures_stay_where_they_are(orientations, source: Path, out: Path) -> None:
    ones = stored_coco(source, orientations, lambda orientation: False)
    taken = box_set().import_from(source, out, {})
    assert on_their_objects(ones, out)
    assert not any("EXIF" in note for note in taken.notes)


@pytest.mark.parametrize(
    ("orientations", "habit"),
    [((1, 3), lambda o: False), ((2,), lambda o: False), ((6, 8, 3, 1, 8), lambda o: o == 6)],
)
def test_mirrored_pictures_without_a_proof_are_noted(orientations, habit, source: Path, out: Path) -> None:
    ones = [one for one in stored_coco(source, orientations, habit) if one.boxes]
    turned = sum(
        int(one.name[-2:]) % len(orientations) == orientations.index(2 if 2 in orientations else 3) for one in ones
    )
    taken = box_set().import_from(source, out, {})
    assert on_their_objects(ones, out)
    assert any(note.startswith(f"{turned} pictures are turned or mirrored by their EXIF") for note in taken.notes)


@pytest.mark.parametrize("layout", ["yolo", "voc", "table"])
def test_formats_that_state_no_stored_size_tell_of_turned_pictures(layout: str, source: Path, out: Path) -> None:
    ones = [One(one.name, one.split, stored_as(one.body, 3)[0], one.boxes) for one in some()]
    layouts.BOXES[layout](source, ones)
    assert any("by their EXIF orientation" in note for note in box_set().import_from(source, out, {}).notes)
