"""Drawing for people: what is asked for is there, legible, inside the picture, and the input is left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from registry.core.media import ByteArray
from registry.vision import drawing

BLANK = np.full((240, 320, 3), 127, np.uint8)


def changed(drawn: ByteArray, before: ByteArray = BLANK) -> tuple[int, int, int, int]:
    """The bounding box (x1, y1, x2, y2) of what differs."""
    x, y, w, h = cv2.boundingRect((drawn != before).any(axis=2).astype(np.uint8))
    return x, y, x + w, y + h


def test_a_box_is_drawn_in_its_classs_colour_and_leaves_the_inside() -> None:
    before = BLANK.copy()
    drawn = drawing.draw_boxes(BLANK, np.array([[100.4, 80.2, 200, 160]]), [""], [2])
    assert (before == BLANK).all()
    assert tuple(drawn[120, 100].tolist()) == drawing.class_colour(2)
    assert (drawn[90:150, 110:190] == 127).all()
    x1, y1, x2, y2 = changed(drawn)
    assert (x1, y1, x2, y2) == pytest.approx((100, 80, 200, 160), abs=4)


@pytest.mark.parametrize("box", [(-50, -20, 40, 60), (280, 200, 900, 900), (0, 0, 320, 240), (5, 5, 5, 5)])
def test_labels_stay_inside_the_picture(box: tuple[float, ...]) -> None:
    drawn = drawing.draw_boxes(BLANK, np.array([box]), ["person 87 %"], [0])
    plate = (drawn == drawing.class_colour(0)).all(axis=2)
    assert plate.sum() > 300
    ink = np.abs(drawn.astype(int) - drawing.ink_on(drawing.class_colour(0))).max(axis=2) < 60
    text = ink & cv2.morphologyEx(plate.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))).astype(bool)
    assert text.sum() > 50


def test_labels_of_two_boxes_in_one_place_do_not_hide_each_other() -> None:
    where = np.array([[60, 100, 200, 200], [62, 102, 198, 198]])
    both = drawing.draw_boxes(BLANK, where, ["knife", "pistol"], [0, 1])
    for number in (0, 1):
        plate = (both == drawing.class_colour(number)).all(axis=2).astype(np.uint8)
        plate = cv2.morphologyEx(plate, cv2.MORPH_CLOSE, np.ones((9, 9)))
        assert cv2.morphologyEx(plate, cv2.MORPH_OPEN, np.ones((10, 20))).any(), number


def test_no_boxes_change_nothing() -> None:
    assert (drawing.draw_boxes(BLANK, np.zeros((0, 4)), [], []) == BLANK).all()
    assert (drawing.draw_truths(BLANK, np.zeros((0, 4))) == BLANK).all()


def test_true_boxes_are_dashed() -> None:
    drawn = drawing.draw_truths(BLANK, np.array([[50, 50, 250, 200]]), ["car"])
    edge = (drawn[50, 60:240] == drawing.TRUTH).all(axis=1).astype(int)
    assert np.abs(np.diff(edge)).sum() >= 10
    assert 0.3 < edge.mean() < 0.7


def test_21_classes_have_21_colours_that_the_colour_blind_can_tell_apart() -> None:
    colours = np.array([drawing.class_colour(n) for n in range(21)], float)
    # Deuteranopia after Vienot, Brettel and Mollon 1999, in linear RGB.
    linear = (colours[:, ::-1] / 255) ** 2.2
    matrix = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    for seen in (colours, 255 * np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)):
        apart = np.linalg.norm(seen[:7, None] - seen[None, :7], axis=2) + 999 * np.eye(7)
        assert apart.min() > 25, apart.min()
    assert len(set(map(drawing.class_colour, range(21)))) == 21
    assert drawing.class_colour(21) == drawing.class_colour(0)


@pytest.mark.parametrize("number", range(21))
def test_text_stands_out_from_its_plate(number: int) -> None:
    def luminance(colour: drawing.Colour) -> float:
        blue, green, red = ((c / 255) ** 2.2 for c in colour)
        return 0.0722 * blue + 0.7152 * green + 0.2126 * red + 0.05

    fill = drawing.class_colour(number)
    light, dark = sorted((luminance(fill), luminance(drawing.ink_on(fill))), reverse=True)
    assert light / dark >= 3, "WCAG 2.2, 1.4.11"


def test_names_become_ascii() -> None:
    assert drawing.to_ascii("Größe naïve") == "Grosse naive"
    assert drawing.to_ascii("刀 1") == "? 1"


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (20, 400), (400, 20), (240, 320)])
def test_bars_stand_beside_the_picture_and_are_as_long_as_their_values(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 200, np.uint8)
    drawn = drawing.draw_bars(picture, ["fire", "smoke", "nothing"], [0.8, 0.2, 0.0], truth="smoke")
    assert drawn.shape[0] == 360
    lengths = [(drawn == drawing.class_colour(n)).all(axis=2).sum(axis=1).max() for n in range(3)]
    assert lengths[0] == pytest.approx(4 * lengths[1], rel=0.05)
    assert lengths[2] <= 1
    assert (drawn == drawing.TRUTH).all(axis=2).any()


def test_many_and_long_names_fit() -> None:
    names = [f"a class with quite a long name, number {n}" for n in range(9)]
    drawn = drawing.draw_bars(BLANK, names, [1.0] + [0.0] * 8, truth="none of them")
    assert (drawn[:, -8:] == drawing.INK).all(), "nothing runs into the right edge"
    assert drawing.draw_bars(BLANK, [], []).shape[0] == 360


def test_a_legend_has_a_chip_for_each_entry_and_breaks_its_line() -> None:
    entries = [(f"class number {n}", drawing.class_colour(n)) for n in range(9)]
    drawn = drawing.add_legend(BLANK, entries, "a note")
    assert (drawn[:240] == BLANK).all()
    for _, chip in entries:
        assert (drawn[240:] == chip).all(axis=2).sum() > 100
    assert drawn.shape[0] > 240 + 2 * 26
    narrow = drawing.add_legend(np.full((50, 40, 3), 9, np.uint8), entries[:1])
    assert narrow.shape[1] == 320


def test_heat_colours_what_is_warm_and_greys_what_is_cold() -> None:
    picture = np.full((90, 120, 3), (40, 160, 90), np.uint8)
    warmth = np.zeros((9, 12), np.float32)
    warmth[2:5, 7:10] = 1
    drawn = drawing.draw_heat(picture, warmth)
    assert drawn.shape == picture.shape
    spread = np.ptp(drawn.astype(int), axis=2)
    assert spread[35, 85] > 60
    assert spread[80, 10] < 8
    under = drawing.add_heat_scale(drawn)
    assert under.shape == (90 + drawing.STRIP, drawing.STRIP_WIDTH, 3)
    assert (under[:90, 150:270] == drawn).all()


def test_small_pictures_are_enlarged_by_a_whole_number() -> None:
    large, factor = drawing.enlarge(np.zeros((100, 160, 3), np.uint8))
    assert (factor, large.shape) == (3, (300, 480, 3))
    assert drawing.enlarge(BLANK, 320)[1] == 1
    assert drawing.enlarge(np.zeros((2000, 3000, 3), np.uint8))[1] == 1
