"""A walk over all routes of the web application, as everybody: what each answers is in `tests.serving.walk.pages`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.web.headers import POLICY
from tests.serving.walk import belongings, routes
from tests.serving.walk.belongings import Walkers
from tests.serving.walk.pages import PAGES, WHO
from tests.serving.walk.walking import Step, faults, steps

CSRF = "c" * 32
SPOOFED = {
    "X-User": "owner", "X-Forwarded-User": "owner", "Remote-User": "owner", "X-Forwarded-For": "127.0.0.1",
    "X-Caller": "owner", "X-Tasks-Of": "owner", "X-HTTP-Method-Override": "DELETE", "Authorization": "Bearer owner",
}  # fmt: skip
"""Headers that say to be somebody else, or that somebody else asked."""
INLINE = re.compile(rb"<script(?![^>]*(\bsrc=|application/json))|<style|\sstyle=|\son\w+=", re.IGNORECASE)


@pytest.fixture(scope="module")
def walkers(web: str) -> Walkers:
    return belongings.make()


@pytest.fixture(scope="module")
def everybody(web: str, walkers: Walkers) -> Iterator[dict[str, httpx.Client]]:
    """Each with a session, a valid CSRF token, and an address of the network, as limits count by address."""
    clients = {}
    for number, who in enumerate((*WHO, "owner")):
        transport = httpx.HTTPTransport(local_address=f"127.0.0.{20 + number}")
        clients[who] = httpx.Client(base_url=web, transport=transport, timeout=120, headers={"X-CSRFToken": CSRF})
        clients[who].cookies.set("csrftoken", CSRF)
        if who in walkers.people:
            clients[who].cookies.set("sessionid", walkers.people[who].session)
    yield clients
    for client in clients.values():
        client.close()


def styled(step: Step, answer: httpx.Response) -> list[str]:
    """What of an answer is against the strict Content-Security-Policy."""
    where, policy = f"{step.method} {step.address} as {step.who}", answer.headers.get_list("content-security-policy")
    found = []
    if not (policy == [POLICY] or (step.row.own_policy and len(policy) == 1)):
        found.append(f"{where}: Content-Security-Policy {policy}")
    html = answer.headers.get("content-type", "").startswith("text/html")
    if html and policy == [POLICY] and (inline := INLINE.search(answer.content)):
        found.append(f"{where}: inline {inline[0]!r}")
    return found


def test_every_route_is_in_the_table(project: Path) -> None:
    assert sorted(set(routes.of_pages())) == sorted(PAGES)


def test_everybody_gets_what_the_table_says_and_nothing_of_the_owners(
    everybody: dict[str, httpx.Client], walkers: Walkers
) -> None:
    def walk(who: str) -> list[str]:
        found = []
        for step in steps(PAGES, walkers, who):
            answer = everybody[who].request(step.method, step.address)
            found += [*faults(step, answer, walkers), *styled(step, answer)]
        return found

    with ThreadPoolExecutor(3) as pool:
        found = [fault for some in pool.map(walk, everybody) for fault in some]
    assert not found, "\n".join(found)


def test_nothing_changes_without_a_csrf_token(everybody: dict[str, httpx.Client], walkers: Walkers) -> None:
    found = []
    session = {"sessionid": walkers.people["administrator"].session, "csrftoken": CSRF}
    with httpx.Client(base_url=everybody["owner"].base_url, cookies=session, timeout=120) as bare:
        for step in steps(PAGES, walkers, "other"):
            if step.method != "GET":
                status = bare.request(step.method, step.address).status_code
                if status != 403 and (step.expected or status not in (404, 405)):
                    found.append(f"{step.method} {step.address}: {status}")
        assert bare.post("/accounts/logout/").status_code == 403
    assert not found, "\n".join(found)


def test_no_header_opens_what_is_the_owners(everybody: dict[str, httpx.Client], walkers: Walkers) -> None:
    values = {"owner": walkers.people["owner"].session, "Bearer owner": f"Bearer {walkers.people['owner'].token}"}
    headers = {name: values.get(value, value) for name, value in SPOOFED.items()}
    found = []
    for step in steps(PAGES, walkers, "other"):
        if step.method == "GET" and "run" in step.row.values.values():
            for address in (step.address, step.address.replace(walkers.values["run"], walkers.values["run"].upper())):
                answer = everybody["other"].get(address, headers=headers)
                found += faults(step, answer, walkers)
    assert not found, "\n".join(found)


def test_only_people_with_a_role_are_led_to_the_back_office(everybody: dict[str, httpx.Client]) -> None:
    led = {who for who, client in everybody.items() if 'href="/office/"' in client.get("/").text}
    assert led == {"viewer", "operator", "administrator"}


def test_the_owner_still_has_everything(everybody: dict[str, httpx.Client], walkers: Walkers) -> None:
    run = walkers.values["run"]
    assert everybody["owner"].get(f"/files/{run}/input").content == belongings.PICTURE
    assert everybody["owner"].get("/accounts/keys/").text.count(walkers.secrets["key name"]) >= 1
    assert everybody["owner"].get("/accounts/sessions/").status_code == 200
