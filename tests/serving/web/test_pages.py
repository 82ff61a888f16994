"""The first page in a real browser, and the headers of every answer."""

from __future__ import annotations

import httpx
import pytest

from tests.browsers import PHONE, Visitor


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/healthz", "/nowhere"])
def test_every_answer_has_the_headers(web: str, path: str) -> None:
    answer = httpx.get(f"{web}{path}", timeout=20)
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert "unsafe" not in policy[0]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_static_files_are_kept_and_compressed(web: str) -> None:
    page = httpx.get(web, timeout=20).text
    style = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = httpx.get(f"{web}{style}", headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"


def test_the_menu_opens_on_a_phone(visitor: Visitor) -> None:
    visitor.page.set_viewport_size(PHONE)
    visitor.open("/")
    visitor.page.get_by_role("button", name="Menu").click()
    visitor.page.get_by_role("link", name="Log in").wait_for()
    assert visitor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_theme_stays_chosen(visitor: Visitor) -> None:
    visitor.page.emulate_media(color_scheme="light")
    visitor.open("/")
    visitor.page.get_by_role("button", name="Light or dark").click()
    visitor.page.reload()
    assert visitor.page.locator("html").get_attribute("data-bs-theme") == "dark"


@pytest.mark.parametrize("path", ["/nowhere", "/models/nothing/"])
def test_a_wrong_address_gets_a_page_that_leads_on(web: str, path: str) -> None:
    answer = httpx.get(f"{web}{path}", timeout=20)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert 'href="/"' in answer.text


def test_the_address_of_a_form_gets_a_page_when_it_is_opened(web: str) -> None:
    answer = httpx.get(f"{web}/language/", timeout=20)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "Nothing was sent" in answer.text


def test_a_form_without_its_token_gets_a_page(web: str) -> None:
    answer = httpx.post(f"{web}/accounts/login/", data={"login": "a@b.example"}, timeout=20)
    assert answer.status_code == 403
    assert "The form is too old" in answer.text
