"""The result page of each kind of answer in a real browser: with the mouse, with keys, and for a screen reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from registry.cases import mask_labels
from tests.serving.gallery import results
from tests.serving.gallery.conftest import Open

ON_THE_PICTURE = "[data-overlay] .view-box"


def names(page: Any) -> list[str]:
    """What the list of findings names."""
    return [str(one) for one in page.locator("[data-list] .view-item-name").all_inner_texts()]


def slide(page: Any, label: str, value: float) -> None:
    page.get_by_label(label).fill(str(value))


def test_the_score_slider_filters_boxes_and_list(shown: Open) -> None:
    page = shown("boxes").page
    page.get_by_text("4 of 4 shown").wait_for()
    assert page.locator(ON_THE_PICTURE).count() == 4
    slide(page, "Show boxes with a score of at least", 0.5)
    page.get_by_text("2 of 4 shown").wait_for()
    assert names(page) == ["sports ball", "person"]
    assert page.locator(ON_THE_PICTURE).count() == 2
    assert "not measured" in page.locator("[data-score-cost]").inner_text()


def test_a_class_is_switched_with_its_count(shown: Open) -> None:
    page = shown("boxes").page
    button = page.get_by_role("button", name="person 1")
    button.press("Enter")
    page.get_by_text("3 of 4 shown").wait_for()
    assert button.get_attribute("aria-pressed") == "false"
    assert "person" not in names(page)
    button.press("Enter")
    page.get_by_text("4 of 4 shown").wait_for()


def test_list_and_boxes_light_each_other_up(shown: Open) -> None:
    page = shown("boxes").page
    page.get_by_role("button", name="book 40 %").focus()
    assert page.locator(f"{ON_THE_PICTURE}.lit").count() == 1
    page.get_by_role("button", name="book 40 %").blur()
    page.locator(f'{ON_THE_PICTURE}[data-id="1"]').hover(position={"x": 20, "y": 60})
    assert page.locator(".view-item.lit .view-item-name").inner_text() == "person"


def test_boxes_lie_where_they_were_found(shown: Open) -> None:
    page = shown("boxes").page
    picture = page.locator(".view-input").bounding_box()
    found = page.locator(f'{ON_THE_PICTURE}[data-id="0"] .view-box-line').bounding_box()
    scale = picture["width"] / 640
    assert found["x"] - picture["x"] == pytest.approx(40 * scale, abs=2)
    assert found["y"] - picture["y"] == pytest.approx(200 * scale, abs=2)
    assert found["width"] == pytest.approx(100 * scale, abs=4)


def test_the_slider_between_before_and_after_takes_keys_and_the_mouse(shown: Open) -> None:
    page = shown("boxes").page
    split = page.get_by_label("Before and after")
    for _ in range(3):
        split.press("ArrowRight")
    assert page.locator("[data-layers]").evaluate("(one) => one.style.clipPath") == "inset(0px 0px 0px 3%)"
    place = page.locator("[data-stage]").bounding_box()
    handle = place["x"] + place["width"] * 0.03, place["y"] + place["height"] / 2
    page.mouse.move(*handle)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 2, handle[1], steps=4)
    page.mouse.up()
    assert int(split.input_value()) == pytest.approx(50, abs=2)


def test_h_hides_while_it_is_held_and_not_while_one_types(shown: Open) -> None:
    page = shown("boxes").page
    layers = page.locator("[data-layers]")
    page.keyboard.down("h")
    assert layers.evaluate("(one) => getComputedStyle(one).visibility") == "hidden"
    page.keyboard.up("h")
    assert layers.evaluate("(one) => getComputedStyle(one).visibility") == "visible"


def test_classes_have_bars_and_the_model_its_size(shown: Open) -> None:
    page = shown("classes").page
    assert page.locator("h2").first.inner_text() == "camera 62.0\u00a0%"
    assert page.locator(".view-bars tr").count() == 9
    assert "1.9 MB" in page.locator(".view-facts").inner_text()


def test_a_result_with_features_names_the_nearest_classes(shown: Open) -> None:
    page = shown("features").page
    assert "0.13" in page.get_by_role("heading", name="Nearest classes by its features").locator("+ ul").inner_text()
    page.get_by_text("has the 2 main components").wait_for()


def test_the_heat_map_lies_over_the_picture(shown: Open) -> None:
    page = shown("classes").page
    heat = page.locator("[data-heat]")
    assert not heat.is_visible()
    page.get_by_role("button", name="Heat map").click()
    assert heat.is_visible()
    assert page.get_by_label("Before and after").is_visible()
    page.get_by_role("button", name="Heat map").click()
    assert not heat.is_visible()


def test_faces_have_a_gender_with_its_probability(shown: Open) -> None:
    page = shown("faces").page
    assert names(page) == ["female\na face: 98\u00a0%", "male\na face: 71\u00a0%"]
    assert page.locator("[data-list] .view-item-score").all_inner_texts() == ["93\u00a0%", "59\u00a0%"]


def test_a_span_of_the_timeline_leads_to_its_place_in_the_video(shown: Open) -> None:
    page = shown("video").page
    page.get_by_role("heading", name="4 objects of 2 classes").wait_for()
    spans = page.locator("[data-timeline] button")
    assert [one.get_attribute("aria-label") for one in spans.all()] == [
        "person: 2 from 0:00 to 0:01",
        "person: 1 from 0:03 to 0:03",
        "sports ball: 1 from 0:00 to 0:03",
    ]
    spans.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.locator("video").evaluate("(one) => one.currentTime") == pytest.approx(3.0, abs=0.1)
    page.locator(".view-span.lit").nth(1).wait_for()  # the person's second, and the ball's


def test_the_mask_of_a_picture_is_switched_by_class_and_painted(shown: Open) -> None:
    page = shown("mask").page
    page.get_by_role("heading", name="male 15 %, female 3.9 %").wait_for()
    colour = "(one, [x, y]) => one.getContext('2d').getImageData(x, y, 1, 1).data[3]"
    canvas = page.locator("[data-mask]")
    assert [canvas.evaluate(colour, at) for at in ([90, 250], [360, 200], [600, 20])] == [255, 255, 0]
    page.get_by_role("button", name="female 3.9 %").click()
    assert [canvas.evaluate(colour, at) for at in ([90, 250], [360, 200])] == [0, 255]
    page.get_by_role("button", name="female 3.9 %").click()

    page.get_by_role("button", name="No, correct it").click()
    page.get_by_label("Class", exact=True).select_option("male")
    place = canvas.bounding_box()
    scale = place["width"] / results.WIDE
    page.mouse.move(place["x"] + 560 * scale, place["y"] + 60 * scale)
    page.mouse.down()
    page.mouse.move(place["x"] + 600 * scale, place["y"] + 60 * scale, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Eraser").click()
    page.mouse.click(place["x"] + 90 * scale, place["y"] + 250 * scale)
    sent = []
    page.route("**/feedback/*", lambda route: (sent.append(route.request.post_data_buffer), route.fulfill(json={})))
    page.get_by_role("button", name="Send the correction").click()
    page.get_by_text("Thank you").wait_for()
    values, _ = mask_labels.decode(sent[0], ("female", "male"))
    before = results.mask_values()
    assert values.shape == before.shape
    rows, columns = np.nonzero((values == 2) & (before == 0))
    assert rows.mean() == pytest.approx(60, abs=2)
    assert columns.mean() == pytest.approx(580, abs=3)
    assert values[250, 90] == 0
    unchanged = np.ones_like(before, bool)
    unchanged[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = False
    unchanged[235:266, 75:106] = False
    assert np.array_equal(values[unchanged], before[unchanged])
