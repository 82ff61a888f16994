"""Pages follow the browser's language and the person's choice."""

from __future__ import annotations

from typing import Any

from tests.browsers import Visitor


def test_the_pages_follow_the_browser_and_the_choice(browser: Any, web: str) -> None:
    person = Visitor(browser, web, locale="fr-FR")
    person.open("/")
    assert person.page.locator("html").get_attribute("lang") == "fr"
    person.page.get_by_role("button", name="English").click()
    person.page.get_by_role("link", name="Log in").wait_for()
    person.page.reload()
    assert person.page.locator("html").get_attribute("lang") == "en"
    person.close()
    assert person.faults == []
