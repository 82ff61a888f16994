""" "Was this right?": answers and corrections made in a real browser reach the prediction as its label."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from monitoring.feedback import performance
from registry.boxes.labels import TrueBoxes
from registry.contract import catalog
from registry.models.skin_segmentation import nifti
from registry.vision.picture import to_jpeg
from tests.browsers import Visitor
from tests.bundles import MODEL
from tests.clips import scene
from tests.detector_bundle import RED, WHITE
from tests.serving.gallery.conftest import Open
from tests.serving.gallery.test_scans import scan
from tests.serving.runs.asking import over, upload
from tests.waiting import until

pytestmark = pytest.mark.slow

BOX = "[data-editor] [data-box]"


@pytest.fixture
def seen(anna: httpx.Client, detector: str) -> str:
    """The id of a run in which a ball and a book were found."""
    identity = upload(anna, detector, "seen.jpg", to_jpeg(scene(4, 320, 240), 95))
    assert over(anna, identity)["state"] == "done"
    return identity


def label(anna: httpx.Client, run: str) -> Any:
    """What the prediction of a run was labelled with, once it is."""
    from monitoring.log.models import Feedback

    prediction = anna.get(f"/files/{run}/answer.json").json()["id"]
    row = until(lambda: Feedback.objects.filter(prediction_id=prediction).first(), 20)
    return performance.labelled(row).truth


def boxes_of(anna: httpx.Client, run: str) -> TrueBoxes:
    found: TrueBoxes = catalog.get("object_detection").score.truth(label(anna, run))
    return found


def correct(page: Any, *, empty: bool = False) -> None:
    """Opens the editor of boxes; `empty`: and deletes all boxes."""
    page.get_by_role("button", name="No, correct it").press("Enter")
    page.locator(BOX).first.wait_for()
    while empty and page.locator(BOX).count():
        page.locator(BOX).first.focus()
        page.keyboard.press("Delete")


def send(person: Visitor) -> None:
    person.page.get_by_role("button", name="Send the correction").click()
    person.page.get_by_text("Thank you").wait_for()


def test_boxes_that_are_right_become_the_label(anna: httpx.Client, shown: Open, seen: str) -> None:
    person = shown(seen)
    person.page.get_by_role("button", name="Yes, these boxes and no others").click()
    person.page.get_by_text("Thank you").wait_for()
    answer = anna.get(f"/files/{seen}/answer.json").json()["detections"]
    found = boxes_of(anna, seen)
    assert found.classes.tolist() == [one["class_id"] for one in answer]
    assert np.abs(found.pixels(320, 240) - [one["box"] for one in answer]).max() < 0.1
    person.page.reload()
    person.page.get_by_text("A new answer takes its place").wait_for()


def test_boxes_are_corrected_with_keys_alone(anna: httpx.Client, shown: Open, seen: str) -> None:
    person = shown(seen)
    page = person.page
    correct(page)
    first = page.locator(BOX).first
    first.focus()
    before = first.get_attribute("aria-label")
    for key in ("ArrowRight", "Control+ArrowDown", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator(BOX).first.get_attribute("aria-label") != before
    page.keyboard.press("2")  # the second class that was found
    page.keyboard.press("n")
    assert page.locator(BOX).count() == 3
    assert page.locator(f"{BOX}:focus").get_attribute("data-box") == "2"
    page.keyboard.press("Delete")
    assert page.locator(BOX).count() == 2
    page.keyboard.press("Control+z")
    assert page.locator(BOX).count() == 3
    page.keyboard.press("Control+y")
    assert page.locator(BOX).count() == 2
    assert person.axe() == []
    send(person)
    answer = anna.get(f"/files/{seen}/answer.json").json()["detections"]
    found, old = boxes_of(anna, seen), np.array([one["box"] for one in answer])
    assert found.classes.tolist() == [answer[1]["class_id"]] * 2
    step = 1
    assert found.pixels(320, 240)[0] - old[0] == pytest.approx([step, 10 * step, 0, 10 * step], abs=0.1)
    assert found.pixels(320, 240)[1] == pytest.approx(old[1], abs=0.1)


def test_boxes_are_drawn_moved_and_stretched_with_the_mouse(anna: httpx.Client, shown: Open, seen: str) -> None:
    person = shown(seen)
    page = person.page
    correct(page, empty=True)
    place = page.locator("[data-editor]").bounding_box()
    scale = place["width"] / 320

    def drag(*points: tuple[float, float]) -> None:
        for number, (x, y) in enumerate(points):
            page.mouse.move(place["x"] + x * scale, place["y"] + y * scale, steps=3)
            if number == 0:
                page.mouse.down()
        page.mouse.up()

    drag((100, 60), (180, 140))
    assert page.locator(BOX).count() == 1
    drag((140, 100), (160, 120))
    drag((200, 160), (220, 200))
    page.get_by_label("Class", exact=True).select_option(WHITE)
    send(person)
    found = boxes_of(anna, seen)
    assert found.pixels(320, 240)[0] == pytest.approx([120, 80, 220, 200], abs=2)
    assert catalog.get("object_detection").classes[found.classes[0]] == WHITE


def test_a_draft_survives_a_reload_and_goes_when_it_is_sent(anna: httpx.Client, shown: Open, seen: str) -> None:
    person = shown(seen)
    page = person.page
    correct(page)
    page.locator(BOX).first.focus()
    page.keyboard.press("Delete")
    page.get_by_text("Draft saved").wait_for()
    shown(seen)
    correct(page)
    page.get_by_text("Your draft is back").wait_for()
    assert page.locator(BOX).count() == 1
    send(person)
    shown(seen)
    correct(page)
    assert page.locator(BOX).count() == 2
    assert boxes_of(anna, seen).classes.tolist() != []


def test_no_box_at_all_is_a_label_too(anna: httpx.Client, shown: Open, seen: str) -> None:
    person = shown(seen)
    correct(person.page, empty=True)
    send(person)
    assert len(boxes_of(anna, seen).classes) == 0


def test_only_the_owner_gives_labels_and_only_from_our_pages(
    anna: httpx.Client, bert: httpx.Client, web: str, seen: str
) -> None:
    assert bert.post(f"/feedback/{seen}", content=b"0 0.5 0.5 0.1 0.1").status_code == 404
    with httpx.Client(base_url=web, timeout=30) as stranger:
        assert stranger.post(f"/feedback/{seen}", content=b"x").status_code in (401, 403)
    forged = anna.post(f"/feedback/{seen}", content=b"x", headers={"X-CSRFToken": "no"})
    assert forged.status_code == 403
    bad = anna.post(f"/feedback/{seen}", content=b"999 0.5 0.5 0.1 0.1")
    assert bad.status_code == 422
    assert "label" in bad.json()["found"]


def drawn(page: Any) -> None:
    """NiiVue paints between two frames, and finds out there which slice is under the pointer."""
    page.evaluate("async () => { for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame); }")


@pytest.mark.parametrize("turn", ["RAS", "LPS", "PIR"])
def test_a_mask_goes_through_the_brush_without_a_shift(anna: httpx.Client, shown: Open, live: str, turn: str) -> None:
    """NiiVue turns voxels on their way in and out, and the scan's slope is not the mask's."""
    body, _ = scan(turn, slope=2.0)
    identity = upload(anna, MODEL, "scan.nii.gz", body)
    assert over(anna, identity)["state"] == "done"
    answered = nifti.read(anna.get(f"/files/{identity}/mask.nii.gz").content, 10**8)
    assert answered.voxels.any()
    person = shown(identity)
    page = person.page
    page.get_by_role("button", name="No, correct it").click()
    send(person)
    same = nifti.read(label(anna, identity), 10**8)
    assert np.array_equal(same.voxels, answered.voxels)
    assert np.allclose(same.affine, answered.affine, atol=1e-3)

    page.get_by_role("button", name="Axial").click()
    page.get_by_role("button", name="No, correct it").click()
    page.get_by_label("Size").fill("5")
    page.locator("[data-scan]").scroll_into_view_if_needed()
    place = page.locator("[data-scan]").bounding_box()
    for step in range(6):
        share = 0.6 + step / 50
        page.mouse.move(place["x"] + place["width"] * share, place["y"] + place["height"] * share)
        drawn(page)
        if not step:
            page.mouse.down()
            drawn(page)
    page.mouse.up()
    drawn(page)
    send(person)
    painted = nifti.read(label(anna, identity), 10**8)
    more = painted.voxels - answered.voxels
    assert more.min() >= 0
    assert more.sum() > 5
    # Down and to the right of the picture's middle: at the back, and at the patient's left.
    where = painted.affine @ [*np.argwhere(more > 0).mean(axis=0), 1]
    middle = painted.affine @ [*(np.array(more.shape) - 1) / 2, 1]
    assert where[0] < middle[0], "the left is on the right"
    assert where[1] < middle[1], "the back is below"


def test_a_scan_that_is_right_keeps_its_mask_as_the_label(anna: httpx.Client, shown: Open, live: str) -> None:
    identity = upload(anna, MODEL, "scan.nii.gz", scan("LAS")[0])
    assert over(anna, identity)["state"] == "done"
    person = shown(identity)
    person.page.get_by_role("button", name="Yes", exact=True).click()
    person.page.get_by_text("Thank you").wait_for()
    answered = nifti.read(anna.get(f"/files/{identity}/mask.nii.gz").content, 10**8)
    assert np.array_equal(nifti.read(label(anna, identity), 10**8).voxels, answered.voxels)


def test_the_score_says_what_it_costs_on_the_test_cases(shown: Open, seen: str) -> None:
    page = shown(seen).page
    assert (
        page.get_by_label("Show boxes with a score of at least").get_attribute("min") == "0.05"
    )  # boxes below come beside the answer
    assert page.get_by_label("Show boxes with a score of at least").input_value() == "0.25"
    cost = page.locator("[data-score-cost]")
    assert "50\u00a0% of the boxes with at least 0.25 are right, and 100\u00a0% of all true ones" in cost.inner_text()
    page.get_by_label("Show boxes with a score of at least").fill("0.95")
    page.get_by_text("None of 2 shown").wait_for()
    assert "none of the boxes" in cost.inner_text()
    page.get_by_role("button", name="back to the model's own, 0.25").click()
    page.get_by_text("2 of 2 shown").wait_for()


def test_a_moment_of_a_video_is_corrected_as_a_picture(
    anna: httpx.Client, shown: Open, usual: Any, detector: str
) -> None:
    person = shown("video")
    page = person.page
    page.locator("video").evaluate("(one) => { one.currentTime = 2; }")
    page.get_by_role("button", name="Correct this moment").click()
    page.wait_for_url("**/runs/**?correct", timeout=60_000)
    page.get_by_role("heading", name="walk 0-02.jpg").wait_for()
    page.locator(BOX).first.wait_for(timeout=90_000)  # the editor is open
    send(person)
    run = page.url.partition("/runs/")[2].partition("/")[0]
    found = boxes_of(anna, run)
    ball = found.pixels(320, 240)[found.classes.tolist().index(catalog.get(detector).classes.index(RED))]
    answer = anna.get(f"/files/{run}/answer.json").json()["detections"]
    assert ball == pytest.approx(next(one["box"] for one in answer if one["class"] == RED), abs=0.1)
