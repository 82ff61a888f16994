"""Pictures with masks, in the layouts that people have."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from registry.cases import mask_labels
from registry.core.errors import DataError
from tests.registry.layouts import put
from tests.registry.made import CLASSES, HEIGHT, WIDTH, mask_set, one_mask

LAYOUTS = {
    "two folders": ("images/{0}.jpg", "masks/{0}.png", False),
    "splits above": ("{1}/images/{0}.jpg", "{1}/masks/{0}.png", True),
    "splits below": ("images/{1}/{0}.jpg", "masks/{1}/{0}.png", True),
    "nnU-Net": ("imagesTr/{0}_0000.png", "labelsTr/{0}.png", False),
    "side by side": ("{0}.jpg", "{0}_mask.png", False),
    "all in images": ("images/{0}.jpg", "images/{0}_mask.png", False),
    "a folder a case": ("{1}/{0}/image.jpg", "{1}/{0}/mask.png", True),
    "Pascal VOC": ("VOC/JPEGImages/{0}.jpg", "VOC/SegmentationClass/{0}.png", False),
    "other folders": ("train_hq/{0}.jpg", "train_masks/{0}_mask.png", False),
    "ISIC": ("Training_Input/{0}.jpg", "Training_GroundTruth/{0}_segmentation.png", False),
}


def saved(mask: np.ndarray, ending: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, ending)
    return stream.getvalue()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_masks(layout: str, source: Path, out: Path) -> None:
    picture, mask, splits = LAYOUTS[layout]
    made = {f"shot{n:02d}": one_mask(np.random.default_rng(n), n) for n in range(18)}
    said = {name: ("train", "val", "test")[n % 3] for n, name in enumerate(made)}
    for name, one in made.items():
        put(source / picture.format(name, said[name]), one.picture)
        put(source / mask.format(name, said[name]), saved(np.asarray(one.truth)))
    taken = mask_set().import_from(source, out, {"look_alikes": "keep"})
    cases = mask_set().cases(out)
    assert taken.train + taken.val + taken.test == len(cases) == 18
    assert min(taken.train, taken.val, taken.test) > 0
    assert taken.unlabelled == 0
    for case in cases:
        one = made[next(name for name in made if name in case.id)]
        assert case.input.read_bytes() == one.picture
        np.testing.assert_array_equal(mask_labels.decode(Path(case.truth).read_bytes(), CLASSES)[0], one.truth)
        assert not splits or case.split == said[next(name for name in made if name in case.id)]
    if layout == "two folders":
        assert taken.notes[0] == "read as pictures with masks"


@pytest.mark.parametrize(
    ("mask", "ending", "share"),
    [
        (np.tile(np.array([[0, 1]], np.uint8), (HEIGHT, WIDTH // 2)), "PNG", 0.5),
        (np.tile(np.array([[0, 255]], np.uint8), (HEIGHT, WIDTH // 2)), "PNG", 0.5),
        (np.tile(np.array([[0, 90, 200, 255]], np.uint8), (HEIGHT, WIDTH // 4)), "PNG", 0.5),
        (np.tile(np.array([[[0] * 3, [255] * 3]], np.uint8), (HEIGHT, WIDTH // 2, 1)), "PNG", 0.5),
        (np.tile(np.array([[False, True]]), (HEIGHT, WIDTH // 2)), "GIF", 0.5),
        (np.repeat(np.array([[0, 255]], np.uint8), WIDTH // 2, axis=1).repeat(HEIGHT, axis=0), "JPEG", 0.5),
        (np.zeros((HEIGHT, WIDTH), np.uint8), "PNG", 0.0),
    ],
)
def test_a_mask_of_one_class_is_black_and_white_in_any_form(mask: np.ndarray, ending: str, share: float) -> None:
    found, _ = mask_labels.decode(saved(mask, ending), ("crack",))
    assert found.shape == (HEIGHT, WIDTH)
    assert found.mean() == share
    again, soft = mask_labels.decode(mask_labels.encode(found, 1), ("crack",))
    assert (again == found).all()
    assert not soft


def test_a_mask_has_a_palette_that_people_see_and_numbers_that_programs_read() -> None:
    mask = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH) % 4
    image = Image.open(io.BytesIO(mask_labels.encode(mask.astype(np.uint8), 3)))
    assert image.mode == "P"
    assert (np.asarray(image) == mask).all()
    assert len(set(image.convert("RGB").getdata())) == 4


@pytest.mark.parametrize(
    ("body", "classes", "says"),
    [
        (saved(np.full((9, 9), 4, np.uint8)), CLASSES, "the value 4"),
        (saved(np.dstack([np.full((9, 9), n, np.uint8) for n in (1, 2, 3)])), CLASSES, "colours"),
        (saved(np.full((9, 9), 2, np.uint8), "JPEG"), CLASSES, "JPEG"),
        (saved(np.full((9, 9), 2, np.uint8))[:-20], CLASSES, "truncated"),
        (b"no picture", ("crack",), "not a picture"),
    ],
)
def test_masks_that_cannot_be_read_stop_the_import_and_are_named(
    body: bytes, classes: tuple[str, ...], says: str, source: Path, out: Path
) -> None:
    put(source / "images" / "a.jpg", one_mask(np.random.default_rng(0), 1).picture)
    put(source / "masks" / "a.png", body)
    with pytest.raises(DataError) as caught:
        mask_set(classes).import_from(source, out, {})
    assert "masks/a.png" in caught.value.found
    assert says in caught.value.found


def test_a_mask_of_another_size_stops_the_import(source: Path, out: Path) -> None:
    for n in range(4):
        put(source / "images" / f"{n}.jpg", one_mask(np.random.default_rng(n), 1).picture)
        put(source / "masks" / f"{n}.png", saved(np.ones((HEIGHT, WIDTH + n // 3), np.uint8)))
    with pytest.raises(DataError, match=r"images/3\.jpg: the mask has 97 x 72 pixels"):
        mask_set().import_from(source, out, {})


def test_numbers_of_the_source_s_own_list_are_matched_by_name(source: Path, out: Path) -> None:
    put(source / "labels.txt", "__ignore__\n_background_\nhat\nYellow Vest\nround\n")
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:10], values[10:20], values[20:30], values[30:40] = 1, 2, 3, 255
    for n in range(6):
        put(source / "images" / f"{n}.jpg", one_mask(np.random.default_rng(n), 1).picture)
        put(source / "masks" / f"{n}.png", saved(values))
    taken = mask_set().import_from(source, out, {"map": {"round": "disc"}})
    assert any("hat" in note for note in taken.notes)
    mask = mask_labels.decode(Path(mask_set().cases(out)[0].truth).read_bytes(), CLASSES)[0]
    assert [int(mask[row, 0]) for row in (5, 15, 25, 35, 45)] == [0, 3, 1, 0, 0]
