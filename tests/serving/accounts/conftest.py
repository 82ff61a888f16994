"""People with accounts, in a browser of their own, and their letters."""

from __future__ import annotations

import email
import email.policy
import re
import secrets
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from registry.core import database
from tests.browsers import Visitor
from tests.waiting import until

PASSWORD = "Blauer-Reiter-1911"


class Letters:
    """What the web application wrote into var/mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def to(self, address: str, containing: str = "") -> EmailMessage:
        """The latest letter to an address. Waits for it."""
        found: list[EmailMessage] = []

        def arrived() -> bool:
            found[:] = [one for one in self._all() if one["To"] == address and containing in one["Subject"]]
            return bool(found)

        until(arrived)
        return found[-1]

    def count(self, address: str) -> int:
        return sum(one["To"] == address for one in self._all())

    def link_to(self, address: str, containing: str = "") -> str:
        """The path of the link in the latest letter to an address."""
        found = re.search(r"https?://[^/\s]+(/\S+)", self.to(address, containing).get_content())
        assert found
        return found[1]

    def _all(self) -> list[EmailMessage]:
        paths = sorted(self._folder.glob("*.eml"), key=lambda path: int(path.stem.rpartition("-")[2]))
        parsed = (email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths)
        return [one for one in parsed if isinstance(one, EmailMessage)]


@pytest.fixture
def letters(project: Path) -> Letters:
    return Letters(project / "var" / "mail")


@pytest.fixture
def account(web: str) -> Callable[..., Any]:
    """Makes an account with a confirmed address and `PASSWORD`. `tag` stands in the address, to find it by."""
    from serving.accounts import people

    def make(role: str = "", tag: str = "") -> Any:
        database.renew_connection()
        address = f"{secrets.token_hex(4)}{tag}@example.org"
        return people.create(address, role, by="a test", password=PASSWORD)[0]

    return make


def log_in(visitor: Visitor, address: str, password: str = PASSWORD) -> None:
    visitor.open("/accounts/login/")
    visitor.page.get_by_label("E-mail address").fill(address)
    visitor.page.get_by_label("Password").fill(password)
    visitor.page.locator("main").get_by_role("button", name="Log in", exact=True).click()


def lines_of(user: Any) -> list[str]:
    """What the audit trail says of an account, the oldest first."""
    from serving.accounts.models import AuditLine

    database.renew_connection()
    return list(AuditLine.objects.filter(target=f"user {user.pk}").order_by("pk").values_list("what", flat=True))


def confirm_access(page: Any) -> None:
    """Gives the password again, which some changes ask for."""
    page.get_by_role("heading", name="Is it you?").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


@pytest.fixture
def member(visitor: Visitor, account: Callable[..., Any]) -> tuple[Visitor, Any]:
    """Somebody who is logged in."""
    user = account()
    log_in(visitor, user.email)
    visitor.page.get_by_role("button", name=user.email).wait_for()
    return visitor, user
