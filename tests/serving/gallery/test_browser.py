"""The pages in a real browser: files in, results out, found again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.vision.picture import to_jpeg
from tests.browsers import PHONE, Visitor
from tests.clips import make_clip, scene
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


def test_a_dropped_photo_leads_to_its_result(carla: Visitor, detector: str) -> None:
    choose(carla, detector, photo("street.jpg"))
    carla.page.wait_for_url("**/runs/**")
    carla.page.get_by_role("button", name="Download").wait_for(timeout=60_000)
    assert "street.jpg" in carla.page.title()
    address = carla.page.url
    carla.page.reload()
    assert carla.page.url == address
    assert carla.axe() == []


def test_without_the_agreement_nothing_is_sent(browser: Any, web: str, persons: list[Person], detector: str) -> None:
    visitor = Visitor(browser, web)
    visitor.page.context.add_cookies([persons[3].cookie(web)])
    visitor.open(f"/models/{detector}/")
    visitor.page.set_input_files("#file", photo("a.jpg"))
    assert visitor.page.locator("#consent").evaluate("(box) => box === document.activeElement")
    assert visitor.page.locator("#files li").count() == 0
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
    carla.page.wait_for_url("**/runs/**")
    until(lambda: "%" in carla.page.title() or carla.page.locator("video").count(), 60)
    carla.page.locator("video").wait_for(timeout=120_000)
    seconds = "() => new Promise((done) => { const video = document.querySelector('video'); const tell = () => "
    seconds += "done(video.duration); video.readyState ? tell() : video.addEventListener('loadedmetadata', tell); })"
    assert carla.page.evaluate(seconds) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_or_is_wider_than_a_phone(carla: Visitor, detector: str, scheme: str) -> None:
    carla.page.set_viewport_size(PHONE)
    carla.page.emulate_media(color_scheme=scheme)
    tabs = [f"/models/{detector}/?tab={tab}" for tab in ("try", "examples", "api", "about")]
    for path in ("/", *tabs, "/models/weapon_detection/", "/history/"):
        carla.open(path)
        assert carla.axe() == [], path
        assert carla.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path


def test_examples_are_there_for_everybody(visitor: Visitor, detector: str, web: str) -> None:
    until(lambda: "before.jpg" in httpx.get(web, timeout=20).text, 60)
    visitor.open(f"/models/{detector}/?tab=examples")
    visitor.page.locator("#tab-examples").get_by_role("link", name="Example 1").click()
    visitor.page.get_by_role("button", name="Download").wait_for()
    assert visitor.page.get_by_role("button", name="Delete").count() == 0


def test_the_history_finds_by_class_and_deletes(carla: Visitor, detector: str) -> None:
    choose(carla, detector, photo("to find.jpg"))
    carla.page.wait_for_url("**/runs/**")
    carla.page.get_by_role("button", name="Download").wait_for(timeout=60_000)
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
    carla.page.wait_for_url("**/runs/**")
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
    visitor.page.wait_for_url("**/runs/**", timeout=60_000)
    visitor.page.get_by_role("button", name="Download").wait_for(timeout=60_000)
    assert len(lost) == 1
    visitor.close()


def test_keys_and_screen_readers_can_choose_a_file(carla: Visitor, detector: str) -> None:
    carla.open(f"/models/{detector}/")
    carla.page.locator("#file").focus()
    assert carla.page.locator("#drop").evaluate("(box) => getComputedStyle(box).outlineStyle") == "solid"
    named = carla.page.get_by_label("Drop files here, or choose them")
    assert named.get_attribute("type") == "file"
