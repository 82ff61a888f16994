"""The web application behind https: Django's own checks, headers and cookies, and what the time of an answer says."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from starlette.testclient import TestClient

from registry.core.settings import settings
from serving.web import configuration

ADDRESS = "https://vision.example.org"
PASSWORD = "Blauer-Reiter-1911"
CSRF = "c" * 32


@pytest.fixture
def production(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser of the web application as it is with `web_url = https://...`, behind a proxy that ends TLS."""
    from serving.web.app import create_app

    monkeypatch.setenv("VISIONLOOP_WEB_URL", ADDRESS)
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)  # as in its process
    settings.cache_clear()
    configuration.make_tables()
    with override_settings(**_of_https(), DEBUG=False):
        browser = TestClient(create_app(), base_url=ADDRESS, follow_redirects=False, client=("10.0.1.1", 1))
        browser.headers.update({"X-Forwarded-Proto": "https", "X-CSRFToken": CSRF, "Referer": f"{ADDRESS}/"})
        browser.cookies.set("csrftoken", CSRF)
        yield browser


def _of_https() -> dict[str, Any]:
    """Django's settings that follow from `web_url`."""
    starts = ("SECURE", "SESSION", "CSRF", "ALLOWED_HOSTS", "ACCOUNT_DEFAULT", "MFA_WEBAUTHN")
    return {name: value for name, value in configuration._options(settings()).items() if name.startswith(starts)}


def _account(address: str) -> Any:
    from serving.accounts import people

    return people.create(address, "", by="a test", password=PASSWORD)[0]


def test_djangos_checks_for_production_are_clean(production: TestClient) -> None:
    assert run_checks(include_deployment_checks=True) == []


@pytest.mark.parametrize("path", ["/accounts/login/", "/healthz", "/files/x/input", "/nowhere"])
def test_browsers_are_told_to_come_by_https_only(production: TestClient, path: str) -> None:
    kept = production.get(path).headers.get_list("strict-transport-security")
    assert kept == ["max-age=31536000; includeSubDomains; preload"]


def test_plain_http_is_redirected_and_other_hosts_are_refused(production: TestClient) -> None:
    plain = production.get("/accounts/login/", headers={"X-Forwarded-Proto": "http"})
    assert (plain.status_code, plain.headers["location"]) == (301, f"{ADDRESS}/accounts/login/")
    assert production.get("/accounts/login/", headers={"Host": "evil.example.org"}).status_code == 400


def test_cookies_are_secure_and_a_log_in_changes_the_session(production: TestClient) -> None:
    from django.contrib.sessions.backends.db import SessionStore

    user, before = _account("me@example.org"), SessionStore()
    before.create()
    production.cookies.set("sessionid", str(before.session_key))
    answer = production.post("/accounts/login/", data={"login": user.email, "password": PASSWORD})
    assert answer.headers["location"] == "/"
    made = {one.partition("=")[0]: set(one.split("; ")) for one in answer.headers.get_list("set-cookie")}
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= made["sessionid"]
    assert {"Secure", "SameSite=Lax"} <= made["csrftoken"]
    assert f"sessionid={before.session_key}" not in made["sessionid"]
    assert not SessionStore().exists(str(before.session_key))
    assert f"csrftoken={CSRF}" not in made["csrftoken"]


def test_a_password_cannot_be_guessed_quickly(production: TestClient) -> None:
    user = _account("me@example.org")
    for _ in range(5):
        wrong = production.post("/accounts/login/", data={"login": user.email, "password": "not-the-one-1"})
        assert "are not correct" in wrong.text
    right = production.post("/accounts/login/", data={"login": user.email, "password": PASSWORD})
    assert "Too many failed" in right.text


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"])
def test_neither_answer_nor_time_says_whether_an_address_has_an_account(production: TestClient, path: str) -> None:
    costs: dict[bool, list[float]] = {True: [], False: []}
    seen: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
    _ask(production, path, "first@example.org", 200)  # what is loaded at the first time
    for turn in range(4):
        for known in (True, False):
            address = f"{secrets.token_hex(4)}@example.org"
            if known:
                _account(address)
            took, status, location = _ask(production, path, address, 2 * turn + known)
            costs[known].append(took)
            seen[known].add((status, location))
    assert seen[True] == seen[False]
    assert {status for status, _ in seen[True]} <= {200, 302}
    ratio = statistics.median(costs[True]) / statistics.median(costs[False])
    assert 0.6 < ratio < 1.67, costs


def _ask(browser: TestClient, path: str, address: str, number: int) -> tuple[float, int, str]:
    """Seconds of processor time, which other programs do not change; status and location. Each `number` comes from an
    address of its own, as each address has limits."""
    passwords = {"password": "not-the-one-1", "password1": PASSWORD, "password2": PASSWORD}
    browser._transport.client = (f"10.0.0.{number}", 1)  # type: ignore[attr-defined]
    browser.cookies.clear()
    browser.cookies.set("csrftoken", CSRF)
    begin = time.process_time()
    answer = browser.post(path, data={"login": address, "email": address, **passwords})
    return time.process_time() - begin, answer.status_code, answer.headers.get("location", "")
