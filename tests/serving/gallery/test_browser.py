"""The pages in a real browser: files in, results out, found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from registry.core.files import write_file
from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from serving.releases import endpoints
from serving.releases.packaging import digest_of
from tests.browsers import Visitor
from tests.clips import make_clip, scene
from tests.serving import people
from tests.serving.people import Person
from tests.waiting import until

PICTURE = to_jpeg(scene(1, 320, 240))


@pytest.fixture
def carla(browser: Any, web: str, persons: list[Person]) -> Iterator[Visitor]:
    """A person with an account, in a browser. In the end nothing may have gone wrong in it."""
    person = Visitor(browser, web)
    person.page.context.add_cookies([persons[2].cookie(web)])
    yield person
    person.close()
    assert person.faults == []


def photo(name: str, content: bytes = PICTURE, media: str = "image/jpeg") -> dict[str, Any]:
    return {"name": name, "mimeType": media, "buffer": content}


def choose(visitor: Visitor, model: str, *files: dict[str, Any]) -> None:
    visitor.open(f"/models/{model}/")
    if visitor.page.locator("#consent").count():
        visitor.page.check("#consent")
    visitor.page.set_input_files("#file", list(files))


def shown_beside(visitor: Visitor) -> Any:
    """The result beside the upload, once its viewer has started."""
    result = visitor.page.locator("#result")
    result.locator("[data-view][data-ready]").wait_for(timeout=90_000)
    return result


def test_a_photo_shows_its_result_beside_it(carla: Visitor, detector: str) -> None:
    choose(carla, detector, photo("street.jpg"))
    result = shown_beside(carla)
    assert carla.page.title().startswith("✓ street.jpg")
    assert "2 of 2 shown" in result.inner_text()
    assert carla.page.locator("#state[role=status]").text_content() == "The result is there."
    assert carla.axe() == []
    carla.page.reload()  # the address names the result
    shown_beside(carla)
    page = carla.page
    page.keyboard.down("h")
    assert page.locator("[data-layers]").evaluate("(one) => getComputedStyle(one).visibility") == "hidden"
    page.keyboard.up("h")
    page.set_input_files("#file", [photo("empty.jpg", to_jpeg(np.full((240, 320, 3), 90, np.uint8)))])
    page.get_by_role("heading", name="empty.jpg").wait_for(timeout=60_000)
    shown_beside(carla)  # the viewer turned to the next one
    assert page.locator("[data-view]").count() == 1
    page.get_by_role("link", name="Open as a page").click()
    page.get_by_role("button", name="Delete").wait_for()
    assert page.title().startswith("✓ empty.jpg")


def test_without_the_agreement_nothing_is_sent(browser: Any, web: str, persons: list[Person], detector: str) -> None:
    visitor = Visitor(browser, web)
    visitor.page.context.add_cookies([persons[3].cookie(web)])
    visitor.open(f"/models/{detector}/")
    page = visitor.page
    page.set_input_files("#file", photo("a.jpg"))
    assert page.locator("#consent").evaluate("(box) => box === document.activeElement")
    assert page.locator("#consent-first").is_visible()
    assert page.locator("#files li").count() == 0
    page.check("#consent")  # the file was not forgotten
    shown_beside(visitor)
    assert page.locator("#consent-first").count() == 0
    row = page.locator("#files li")
    row.get_by_text("done").wait_for(timeout=60_000)
    assert row.get_by_role("link", name="Open the result").count() == 0  # it stands beside
    visitor.close()


def test_several_files_each_get_a_row_and_a_link(carla: Visitor, detector: str) -> None:
    files = [photo("one.jpg"), photo("two.jpg", to_jpeg(scene(9, 320, 240))), photo("letter.txt", b"hello")]
    choose(carla, detector, *files)
    rows = carla.page.locator("#files li")
    assert rows.count() == 3
    assert "does not take" in rows.nth(2).inner_text()
    for number in range(2):
        rows.nth(number).get_by_text("done").wait_for(timeout=60_000)
        assert rows.nth(number).get_by_role("link", name="Open the result").get_attribute("href")
    assert carla.page.locator("#result [data-view]").count() == 0
    rows.nth(1).get_by_role("link", name="Open the result").click()
    shown_beside(carla).get_by_role("heading", name="two.jpg").wait_for()


def test_a_wrong_file_says_why_and_what_to_do(browser: Any, web: str, persons: list[Person], detector: str) -> None:
    visitor = Visitor(browser, web)
    visitor.page.context.add_cookies([persons[2].cookie(web)])
    choose(visitor, detector, photo("letter.jpg", b"%PDF-1.4 " * 100))
    row = visitor.page.locator("#files li")
    row.get_by_text("PDF").wait_for(timeout=30_000)
    assert "convert" in row.inner_text().lower()
    visitor.close()


def test_a_video_shows_how_far_it_is_and_plays(carla: Visitor, detector: str) -> None:
    clip = make_clip(200, (192, 128), encoder={"preset": "ultrafast"})
    choose(carla, detector, photo("walk.mp4", clip, "video/mp4"))
    until(lambda: "%" in carla.page.title() or carla.page.locator("video").count(), 60)
    carla.page.locator("video").wait_for(timeout=120_000)
    seconds = "() => new Promise((done) => { const video = document.querySelector('video'); const tell = () => "
    seconds += "done(video.duration); video.readyState ? tell() : video.addEventListener('loadedmetadata', tell); })"
    assert carla.page.evaluate(seconds) == pytest.approx(20, abs=0.5)


def test_examples_are_there_for_everybody(visitor: Visitor, detector: str, web: str) -> None:
    until(lambda: "before.jpg" in httpx.get(web, timeout=20).text, 60)
    visitor.open(f"/models/{detector}/?tab=examples")
    visitor.page.locator("#tab-examples").get_by_role("link", name="Example 1").click()
    shown_beside(visitor).get_by_role("link", name="Open as a page").click()
    visitor.page.get_by_role("button", name="Download").wait_for()
    assert visitor.page.get_by_role("button", name="Delete").count() == 0


def test_the_history_finds_by_class_and_deletes(carla: Visitor, detector: str) -> None:
    choose(carla, detector, photo("to find.jpg"))
    shown_beside(carla)
    carla.open("/history/?label=sports+ball&model=object_detection")
    assert carla.page.get_by_role("link", name="to find.jpg").count() == 1
    carla.open("/history/?label=book&state=failed")
    assert carla.page.get_by_role("link", name="to find.jpg").count() == 0
    carla.open("/history/")
    carla.page.on("dialog", lambda question: question.accept())
    carla.page.get_by_role("button", name="Delete to find.jpg").click()
    carla.page.get_by_text("to find.jpg and its result are deleted").wait_for()


def test_a_tab_is_chosen_by_keyboard_and_stays_after_a_reload(carla: Visitor, detector: str) -> None:
    carla.open(f"/models/{detector}/")
    carla.page.get_by_role("tab", name="Try it").focus()
    carla.page.keyboard.press("ArrowRight")
    carla.page.keyboard.press("ArrowRight")
    carla.page.keyboard.press("Enter")
    carla.page.get_by_text("curl -H").wait_for()
    carla.page.reload()
    assert carla.page.get_by_text("curl -H").is_visible()


def test_downloads_have_the_name_of_the_file(carla: Visitor, detector: str, tmp_path: Path) -> None:
    choose(carla, detector, photo("mein Bild.jpg"))
    carla.page.get_by_role("button", name="Download").click(timeout=60_000)
    with carla.page.expect_download() as waiting:
        carla.page.get_by_role("link", name="Annotated picture").click()
    assert waiting.value.suggested_filename == "mein Bild-annotated.jpg"


def test_a_lost_connection_goes_on_by_itself(browser: Any, web: str, persons: list[Person], detector: str) -> None:
    visitor = Visitor(browser, web)
    visitor.page.context.add_cookies([persons[2].cookie(web)])
    lost = []

    def lose_the_first(route: Any) -> None:
        if route.request.method == "PUT" and not lost:
            lost.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.fallback()

    visitor.page.route("**/uploads/*", lose_the_first)
    choose(visitor, detector, photo("patient.jpg"))
    shown_beside(visitor)
    assert len(lost) == 1
    visitor.close()


def test_keys_and_screen_readers_can_choose_a_file(carla: Visitor, detector: str) -> None:
    carla.open(f"/models/{detector}/")
    carla.page.locator("#file").focus()
    assert carla.page.locator("#drop").evaluate("(box) => getComputedStyle(box).outlineStyle") == "solid"
    named = carla.page.get_by_label("Drop files here, or choose them")
    assert named.get_attribute("type") == "file"


def test_a_key_is_made_on_the_page_and_fills_both_snippets(carla: Visitor, detector: str, router: str) -> None:
    page = carla.page
    carla.open(f"/models/{detector}/?tab=api")
    page.get_by_role("button", name="Make a key and fill it in").click()
    page.get_by_text("This is your new key").wait_for()
    token = page.locator("#code-key").inner_text()
    for code in ("#code-curl", "#code-python"):
        assert token in page.locator(code).inner_text()
    assert carla.axe() == []
    asked = {"content": PICTURE, "headers": {"Authorization": f"Bearer {token}"}, "timeout": 60}
    until(lambda: httpx.post(f"{router}/v1/models/{detector}/predict", **asked).status_code == 200, 20)
    assert httpx.post(f"{router}/v1/models/weapon_detection/predict", **asked).status_code == 403
    page.reload()
    assert token not in page.content()
    assert token[:15] in page.content()
    page.get_by_label("Your key").fill(token)
    assert token in page.locator("#code-curl").inner_text()


def test_what_is_known_of_a_model(browser: Any, web: str, detector: str) -> None:
    """Versions and data for everybody, and for people of the back office the way to the gate's decision."""
    endpoint = endpoints.announced(detector)[(detector, 1)]
    facts = {"digest": digest_of(endpoint.tag), "created": "2026-01-01", "granted": True, "summary": "granted"}
    folder = settings().var / "decisions" / detector
    write_file(folder / "0123456789ab.json", json.dumps(facts))
    write_file(folder / "0123456789ab.html", "<p>granted</p>")
    for person, sees in ((people.make("viewer:vera@example.org")[0], 1), (people.make("emil@example.org")[0], 0)):
        visitor = Visitor(browser, web)
        visitor.page.context.add_cookies([person.cookie(web)])
        visitor.open(f"/models/{detector}/?tab=about")
        row = visitor.page.get_by_role("row", name="1 2026-01-01")
        assert row.get_by_text("live").is_visible()
        assert row.get_by_text("champion").count() == sees
        link = row.get_by_role("link", name="Decision on version 1")
        assert link.count() == sees
        assert "Tested on" in visitor.page.locator("#tab-about").inner_text()
        if sees:
            link.click()
            visitor.page.get_by_text("granted").wait_for()
        visitor.close()
