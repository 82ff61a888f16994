"""Authenticator app, recovery codes and passkey; their secrets are nowhere in the clear."""

from __future__ import annotations

import base64
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry.core.settings import settings
from registry.encryption import keys
from serving.releases.deploy import free_port
from tests.browsers import Visitor
from tests.conftest import PROJECT
from tests.serving.accounts.conftest import confirm_access, lines_of, log_in
from tests.serving.conftest import Processes
from tests.waiting import until

pytestmark = pytest.mark.slow


def code_of(secret: str, steps: int = 0) -> str:
    """What an authenticator app shows: https://www.rfc-editor.org/rfc/rfc6238."""
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def activate(visitor: Visitor) -> tuple[str, list[str]]:
    """Switches the second factor on. Returns its secret and the recovery codes."""
    page = visitor.page
    visitor.open("/accounts/2fa/totp/activate/")
    confirm_access(page)
    page.get_by_role("heading", name="Activate the authenticator app").wait_for()
    assert visitor.axe() == []
    assert page.locator("img.site-qr").evaluate("image => image.naturalWidth") > 100
    secret = page.get_by_label("Authenticator secret").input_value()
    page.locator("#id_code").fill(code_of(secret))
    page.get_by_role("button", name="Activate").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    assert visitor.axe() == []
    return secret, page.get_by_label("Unused codes").input_value().split()


def test_log_in_asks_for_the_code_once(member: tuple[Visitor, Any], browser: Any, web: str, project: Path) -> None:
    visitor, user = member
    secret, recovery = activate(visitor)
    assert len(recovery) == 10

    assert "account.second-factor-add" in lines_of(user)

    other = Visitor(browser, web)
    log_in(other, user.email)
    other.page.get_by_role("heading", name="Second factor").wait_for()
    assert other.axe() == []
    other.open("/accounts/profile/")  # the password alone is not enough
    assert "/2fa/authenticate/" in other.page.url

    code = code_of(secret, 1)  # within the tolerance, and not the one that was used
    other.page.locator("#id_code").fill(code)
    other.page.get_by_role("button", name="Log in").click()
    other.page.get_by_role("button", name=user.email).wait_for()
    other.page.context.clear_cookies()
    log_in(other, user.email)
    other.page.locator("#id_code").fill(code)
    other.page.get_by_role("button", name="Log in").click()
    other.page.get_by_text("Incorrect code").wait_for()  # each code works once
    other.page.locator("#id_code").fill(recovery[0])
    other.page.get_by_role("button", name="Log in").click()
    other.page.get_by_role("button", name=user.email).wait_for()
    other.close()

    kept = _everything(project)
    assert base64.b32decode(secret) not in kept
    for text in (secret, recovery[1]):
        assert text.encode() not in kept


def test_secrets_are_read_after_the_keys_were_renewed(member: tuple[Visitor, Any], browser: Any, web: str) -> None:
    from serving.accounts import encrypted

    visitor, user = member
    secret, _ = activate(visitor)
    keys.add_key()
    count, failed = encrypted.renew()
    assert (count >= 2, failed) == (True, [])
    other = Visitor(browser, web)
    log_in(other, user.email)
    other.page.locator("#id_code").fill(code_of(secret, 1))
    other.page.get_by_role("button", name="Log in").click()
    other.page.get_by_role("button", name=user.email).wait_for()
    other.close()


@pytest.fixture
def at_localhost(browser: Any, web: str) -> Iterator[Visitor]:
    """Passkeys need a name, not a number: https://www.w3.org/TR/webauthn-2/#rp-id."""
    person = Visitor(browser, web.replace("127.0.0.1", "localhost"))
    yield person
    person.close()
    assert person.faults == []


def test_a_passkey_logs_in_without_a_password(at_localhost: Visitor, account: Any) -> None:
    user, page = account(), at_localhost.page
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    log_in(at_localhost, user.email)
    page.get_by_role("button", name=user.email).wait_for()
    at_localhost.open("/accounts/2fa/webauthn/add/")
    confirm_access(page)
    page.get_by_label("Passwordless").check()
    assert at_localhost.axe() == []
    page.get_by_role("button", name="Add").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    at_localhost.open("/accounts/2fa/webauthn/")
    page.get_by_text("Passkey", exact=True).wait_for()
    assert at_localhost.axe() == []

    page.context.clear_cookies()
    at_localhost.open("/accounts/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_role("button", name=user.email).wait_for()


def _everything(project: Path) -> bytes:
    """All bytes of the database, without what is only in its journal."""
    with closing(sqlite3.connect(project / "var" / "visionloop.db")) as database:
        # A session that is being set up holds the secret until the code is confirmed, so unused pages are cleared.
        until(lambda: database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        return b"".join(str(row).encode() for row in database.iterdump())


def test_the_back_office_may_ask_for_a_second_factor(
    browser: Any, web: str, processes: Processes, account: Any
) -> None:
    port = free_port()
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT), "VISIONLOOP_WEB_PORT": str(port)}
    env["VISIONLOOP_OFFICE_SECOND_FACTOR"] = "true"
    address = f"http://127.0.0.1:{port}"
    processes.start("strict-web", [sys.executable, "-m", "serving.launchers.web"], env, f"{address}/healthz")
    visitor = Visitor(browser, address)
    user = account("viewer")
    log_in(visitor, user.email)
    visitor.page.get_by_role("button", name=user.email).wait_for()
    visitor.open("/office/models/")
    visitor.page.get_by_text("The back office needs a second factor.").wait_for()
    activate(visitor)
    visitor.open("/office/models/")
    assert visitor.page.url.endswith("/office/models/")
    visitor.close()
    processes.stop("strict-web")
    assert visitor.faults == []
