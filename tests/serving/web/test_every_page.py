"""No page has a serious fault of accessibility, in light or dark, is wider than a phone, or half in English.

Who adds a route names it in `tests.serving.web.every_page`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from registry.core import database
from tests.browsers import PHONE, Visitor
from tests.serving import people
from tests.serving.gallery import planted, results
from tests.serving.walk.routes import of_pages
from tests.serving.web import every_page

OWNER = "erika@example.org"
LONG = "IMG_20261129_173501_a_name_as_phones_give_it_to_their_pictures_and_longer.jpg"


@pytest.fixture(scope="module")
def made(web: str, detector: str) -> dict[str, Any]:
    """Ids of results of every kind and state, a link to one of them, a message; sessions by role."""
    own, office = people.make(OWNER, "administrator:frida@example.org")
    kinds = {kind: getattr(results, kind)(owner=OWNER, prediction_id="0" * 32) for kind in results.KINDS}
    picture, error = results.boxes(owner=OWNER)[1], {"found": "the file is empty", "fix": "choose another file"}
    about = {"model": every_page.MODEL, "kind": "picture", "media": "image/jpeg", "owner": OWNER, "name": LONG}
    states = ("uploading", "waiting", "running", "failed", "cancelled")
    never = "2099-01-01T00:00:00+00:00"  # the runner leaves it alone until then
    kinds |= {
        state: ({**about, "state": state, "not_before": never, "lease": never, "error": error}, picture)
        for state in states
    }
    ids: dict[str, Any] = dict(zip(kinds, planted.plant(*kinds.values()), strict=True))
    with closing(own.client(web)) as client:
        client.post(f"/runs/{ids['boxes']}/share", data={"days": 1}, headers={"Referer": web})
        shown = client.get(f"/runs/{ids['boxes']}/").text
    shared = re.search(r"/shared/[\w.:-]+/", shown)
    assert shared
    database.renew_connection()
    from serving.accounts.models import Message

    message = Message.objects.create(email="hans@example.org", subject="Blaue Pferde", text="Gibt es die?")
    return {**ids, "shared": shared[0], "message": message.pk, "own": own, "office": office}


def test_every_route_is_looked_at(web: str) -> None:
    known = {*every_page.OPEN, *every_page.OWN, *every_page.OFFICE, *every_page.ELSEWHERE, *every_page.NO_PAGE}
    assert set(of_pages()) == known


@pytest.fixture(params=["open", "own", "office"])
def pages(request: pytest.FixtureRequest, made: dict[str, Any]) -> tuple[Any, list[str]]:
    """Who looks, and the addresses."""
    of = {"open": every_page.OPEN, "own": every_page.OWN, "office": every_page.OFFICE}[request.param]
    return made.get(request.param), list(every_page.addresses(of, made))


@pytest.fixture
def looking(browser: Any, web: str, pages: tuple[Any, list[str]]) -> Iterator[Visitor]:
    """The one who looks, with a phone."""
    visitor = Visitor(browser, web, viewport=PHONE, reduced_motion="reduce")
    if pages[0] is not None:
        visitor.page.context.add_cookies([pages[0].cookie(web)])
    yield visitor
    visitor.close()


def test_no_page_has_a_serious_fault(looking: Visitor, pages: tuple[Any, list[str]]) -> None:
    page, found = looking.page, dict[str, list[str]]()
    for address in pages[1]:
        looking.open(address)
        if page.locator("[data-view]").count():
            page.locator("[data-view][data-ready]").wait_for(timeout=60_000)
        faults = [*looking.axe()]
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        faults += [f"dark: {one}" for one in looking.axe("color-contrast", "link-in-text-block")]
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        if page.locator("h1").count() != 1:
            faults.append(f"{page.locator('h1').count()} first headings")
        if not page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"):
            faults.append("wider than a phone")
        if faults:
            found[address] = faults
    assert found == {}


class _Words(HTMLParser):
    """What a reader of another language than English would read."""

    VOID = frozenset(("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"))
    HIDDEN = ("script", "style", "code", "pre")
    READ = ("aria-label", "title", "placeholder", "alt")

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._left_out: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        outer = bool(self._left_out) and self._left_out[-1]
        out = given["lang"] in ("en", "") if "lang" in given else outer or tag in self.HIDDEN
        if not out:
            self.texts += [str(given[name]) for name in self.READ if given.get(name)]
        if tag not in self.VOID:
            self._left_out.append(out)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._left_out:
            self._left_out.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not (self._left_out and self._left_out[-1]):
            self.texts.append(data.strip())


ENGLISH = re.compile(r"\b(the|of|is|and|are|not|with|was|has|from|this|yet|it)\b", re.IGNORECASE)


def english(page: str) -> list[str]:
    words = _Words()
    words.feed(page)
    return [text for text in words.texts if ENGLISH.search(re.sub(r"{\w+}", "", text))]


def test_no_page_is_half_in_english(web: str, pages: tuple[Any, list[str]]) -> None:
    cookies: Mapping[str, str] = {"sessionid": pages[0].session} if pages[0] is not None else {}
    found = {}
    with httpx.Client(base_url=web, cookies=cookies, timeout=60, headers={"Accept-Language": "fr"}) as client:
        for address in pages[1]:
            answer = client.get(address, follow_redirects=True)
            assert 'lang="fr"' in answer.text or address == "/office/story/", address
            if rest := english(answer.text):
                found[address] = rest
    assert found == {}


def test_what_counts_as_english() -> None:
    page = '<html lang="fr"><p>Le chat<br>of the house</p><p lang="en">This is <b>fine</b></p><code>not it</code>'
    page += '<img alt="a view of it"><p>fin</p>'
    assert english(page) == ["of the house", "a view of it"]
