"""The web application's `/metrics`, of a real process."""

from __future__ import annotations

import httpx

from serving.access import keys
from tests.exposition import FORBIDDEN_LABELS, scrape
from tests.serving.access.conftest import bearer

ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}


def test_pages_are_counted_by_route_and_status_and_not_by_address(web: str) -> None:
    asked = {"gallery": "/", "model": "/models/skin_segmentation/", "none": "/nowhere/4711", "/healthz": "/healthz"}
    style = httpx.get(web, timeout=20).text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    before = scrape(web)
    statuses = {route: httpx.get(f"{web}{path}", timeout=20).status_code for route, path in asked.items()}
    httpx.get(f"{web}{style}")
    httpx.put(f"{web}/uploads/{'0' * 32}", content=b"x")
    found = scrape(web)
    assert statuses == {"gallery": 200, "model": 200, "none": 404, "/healthz": 200}
    for route, status in {**statuses, "static": 200}.items():
        name, labels = "visionloop_web_requests_total", {"route": route, "status": f"{status // 100}xx"}
        earlier = before.of(name, **labels) if before.has(name, **labels) else 0
        assert found.of(name, **labels) == earlier + 1, route
        assert found.of("visionloop_web_request_seconds_count", route=route) > 0
    assert found.has("visionloop_web_requests_total", route="/uploads/{id}", status="4xx")
    assert not any("4711" in route or "0000" in route for route in found.values("route"))
    assert not found.labels & FORBIDDEN_LABELS


def test_what_waits_and_what_the_process_takes(web: str) -> None:
    found = scrape(web)
    assert {state: found.of("visionloop_web_runs", state=state) for state in ("uploading", "waiting", "running")}
    assert found.of("visionloop_web_letters", state="failed") == 0
    assert found.of("visionloop_web_uploads") == 0
    assert found.of("process_resident_memory_bytes") > 10**7


def test_other_machines_need_a_key_for_the_action_admin(web: str) -> None:
    tokens = {"admin": keys.create("prometheus", actions=["admin"])[1], "usual": keys.create("usual")[1]}
    headers = {"none": {}, **{name: bearer(token) for name, token in tokens.items()}}
    statuses = {
        name: httpx.get(f"{web}/metrics", headers={**ELSEWHERE, **one}, timeout=20).status_code
        for name, one in headers.items()
    }
    assert statuses == {"none": 403, "admin": 200, "usual": 403}
