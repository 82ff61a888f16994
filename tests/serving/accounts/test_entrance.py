"""Sign-up, log-in and log-out, password and address, in a real browser with real letters."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from tests.browsers import Visitor
from tests.serving.accounts.conftest import PASSWORD, Letters, confirm_access, lines_of, log_in


def _sign_up(visitor: Visitor, address: str) -> None:
    page = visitor.page
    visitor.open("/accounts/signup/")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password, again").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="Sign up", exact=True).click()
    page.get_by_role("heading", name="Confirm your e-mail address").wait_for()


def test_sign_up_confirm_log_in_log_out(visitor: Visitor, letters: Letters) -> None:
    address, page = f"{secrets.token_hex(4)}@example.org", visitor.page
    _sign_up(visitor, address)
    assert page.get_by_text("in the folder var/mail").is_visible()  # there is no mail server
    assert page.get_by_text("spam").count() == 0
    assert visitor.axe() == []

    log_in(visitor, address)  # not before the address is confirmed
    page.get_by_role("heading", name="Confirm your e-mail address").wait_for()
    visitor.open(letters.link_to(address))
    assert visitor.axe() == []
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name=address).click()  # it is the browser that signed up, so nobody logs in again
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()
    log_in(visitor, address)
    page.get_by_role("button", name=address).wait_for()


def test_the_link_of_a_letter_logs_nobody_else_in(visitor: Visitor, browser: Any, web: str, letters: Letters) -> None:
    address = f"{secrets.token_hex(4)}@example.org"
    _sign_up(visitor, address)
    other = Visitor(browser, web)
    other.open(letters.link_to(address))
    other.page.get_by_role("button", name="Confirm").click()
    other.page.get_by_role("link", name="Log in").first.wait_for()
    assert other.page.get_by_role("button", name=address).count() == 0
    other.close()


def test_the_session_has_another_name_after_log_in(visitor: Visitor, account: Callable[..., Any]) -> None:
    visitor.open("/accounts/login/")
    before = {one["name"]: one["value"] for one in visitor.page.context.cookies()}
    user = account()
    log_in(visitor, user.email)
    visitor.page.get_by_role("button", name=user.email).wait_for()
    after = {one["name"]: one for one in visitor.page.context.cookies()}
    assert after["sessionid"]["value"] != before.get("sessionid")
    assert after["sessionid"]["httpOnly"]
    assert after["csrftoken"]["value"] != before["csrftoken"]


def test_no_page_says_whether_an_address_has_an_account(
    visitor: Visitor, account: Callable[..., Any], letters: Letters
) -> None:
    known, unknown, page, seen = account().email, f"{secrets.token_hex(4)}@example.org", visitor.page, []
    for address in (known, unknown):
        log_in(visitor, address, "not-the-password-1")
        seen.append(page.locator("main").inner_text().replace(address, "ADDRESS"))
        visitor.open("/accounts/password/reset/")
        page.get_by_label("E-mail address").fill(address)
        page.locator("main").get_by_role("button").click()
        page.get_by_text("in the folder var/mail").wait_for()  # there is no mail server
        seen.append(page.locator("main").inner_text().replace(address, "ADDRESS"))
        _sign_up(visitor, address)
        seen.append(page.locator("main").inner_text().replace(address, "ADDRESS"))
    assert seen[:3] == seen[3:]
    letters.to(known, "Account Already Exists")


def test_a_forgotten_password_is_changed_by_a_letter(
    visitor: Visitor, account: Callable[..., Any], letters: Letters
) -> None:
    user, page, new = account(), visitor.page, "Another-Word-42"
    visitor.open("/accounts/password/reset/")
    page.get_by_label("E-mail address").fill(user.email)
    page.locator("main").get_by_role("button").click()
    visitor.open(letters.link_to(user.email, "Choose a new password"))
    assert visitor.axe() == []
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_label("New password, again").fill(new)
    page.get_by_role("button", name="Change the password").click()
    page.get_by_text("Your password is now changed").wait_for()
    log_in(visitor, user.email, new)
    page.get_by_role("button", name=user.email).wait_for()
    assert lines_of(user) == ["user.create", "account.password-reset"]


def test_a_new_address_counts_once_it_is_confirmed(member: tuple[Visitor, Any], letters: Letters) -> None:
    (visitor, user), new = member, f"{secrets.token_hex(4)}@example.org"
    page = visitor.page
    visitor.open("/accounts/email/")
    page.get_by_label("E-mail address").fill(new)
    page.get_by_role("button", name="Change the address").click()
    confirm_access(page)
    page.get_by_text("once you follow the link").wait_for()
    assert visitor.axe() == []
    visitor.open(letters.link_to(new))
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name=new).wait_for()
    user.refresh_from_db()
    assert user.email == new
    assert lines_of(user)[-1] == "account.email"


def test_guessing_a_password_is_slowed_down(visitor: Visitor, account: Callable[..., Any]) -> None:
    user = account()
    for _ in range(5):
        log_in(visitor, user.email, "not-the-password-1")
        visitor.page.get_by_text("are not correct").wait_for()
    log_in(visitor, user.email)
    visitor.page.get_by_text("Too many failed login attempts").wait_for()


def test_only_argon2_with_our_costs(account: Callable[..., Any]) -> None:
    assert account().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
