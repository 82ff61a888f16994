"""The router's `/metrics`: what it counted, and who may read it. The services are stubs, all else is real."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.access import keys
from tests.exposition import FORBIDDEN_LABELS, scrape
from tests.serving.access.conftest import bearer, known, start_router
from tests.serving.conftest import Processes
from tests.serving.stubs import Stub, released, serving
from tests.waiting import until

MODEL = "fruit_features"
PREDICT = f"/v1/models/{MODEL}/predict"
LIVE = {"model": MODEL, "version": "1", "role": "live"}
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
"""A proxy on this machine names the caller, as our server believes."""


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, "metrics")
    processes.stop("metrics")


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    with serving(Stub()) as one, released(address, MODEL, one):
        yield one


def test_calls_are_counted_by_version_role_and_status_across_the_writes_to_the_database(
    address: str, stub: Stub
) -> None:
    before = scrape(address)
    assert before.of("visionloop_router_requests_total", **LIVE, status="2xx") == 0, "a rate begins at 0"
    assert before.of("visionloop_service_down", model=MODEL, version="1") == 0
    assert before.of("visionloop_release_share", **LIVE) == 1
    sent = {200: 5, 422: 3, 429: 2, 500: 4}
    answers = {}
    for status, count in sent.items():
        stub.status = status
        answers[status] = [httpx.post(f"{address}{PREDICT}", content=b"x").status_code for _ in range(count)]
    found = scrape(address)
    calls = {one: found.of("visionloop_router_requests_total", **LIVE, status=one) for one in ("2xx", "4xx", "5xx")}
    assert calls == {"2xx": 5, "4xx": 5, "5xx": 4}
    assert found.of("visionloop_router_errors_total", **LIVE) == 4
    assert found.of("visionloop_router_refused_total", **LIVE) == 2
    assert found.of("visionloop_router_request_seconds_count", **LIVE) == 5
    time.sleep(2.2)  # the counts move from memory into the database, and stay counted
    assert scrape(address).of("visionloop_router_requests_total", **LIVE, status="4xx") == 5
    assert found.of("visionloop_router_answers_total", status="4xx") >= 5


def test_latencies_are_a_histogram_in_seconds(address: str, stub: Stub) -> None:
    before = scrape(address).of("visionloop_router_request_seconds_sum", **LIVE)
    stub.takes_s = 0.2
    httpx.post(f"{address}{PREDICT}", content=b"x")
    found = scrape(address)
    assert found.of("visionloop_router_request_seconds_sum", **LIVE) - before == pytest.approx(0.2, abs=0.15)
    buckets = [found.of("visionloop_router_request_seconds_bucket", **LIVE, le=le) for le in ("0.15", "5.0", "+Inf")]
    assert buckets[0] < buckets[1] <= buckets[2]
    assert buckets[2] == found.of("visionloop_router_request_seconds_count", **LIVE)


def test_what_is_at_work_shows_while_it_is(address: str, stub: Stub) -> None:
    stub.takes_s = 60
    with ThreadPoolExecutor(1) as thread, httpx.Client() as client:
        asked = thread.submit(client.post, f"{address}{PREDICT}", content=b"x" * 100_000, timeout=2)
        found = until(lambda: one if (one := scrape(address)).of("visionloop_router_in_flight") else None)
        assert found.of("visionloop_router_in_flight") == 1
        assert found.of("visionloop_router_upload_bytes") == 100_000
        assert isinstance(asked.exception(), httpx.ReadTimeout)
    stub.takes_s = 0
    assert scrape(address).of("process_cpu_seconds_total") > 0
    until(lambda: scrape(address).of("visionloop_router_in_flight") == 0)
    assert scrape(address).of("visionloop_router_upload_bytes") == 0
    assert scrape(address).of("visionloop_router_requests_total", **LIVE, status="none") >= 1, "a caller that left"


def test_a_service_that_is_down_and_the_router_s_own_refusals_show(address: str, stub: Stub) -> None:
    refused = scrape(address).of("visionloop_router_answers_total", status="4xx")
    assert httpx.get(f"{address}/v1/nothing").status_code == 404
    assert scrape(address).of("visionloop_router_answers_total", status="4xx") == refused + 1
    stub.well, stub.dies, stub.body = False, True, b"0" * 100
    httpx.post(f"{address}{PREDICT}", content=b"x", timeout=60)
    assert scrape(address).of("visionloop_service_down", model=MODEL, version="1") == 1
    stub.well = True


def test_no_label_is_somebody_s(address: str, stub: Stub) -> None:
    httpx.post(f"{address}{PREDICT}", content=b"x", headers={"X-Request-Id": "mine"})
    found = scrape(address)
    assert not found.labels & FORBIDDEN_LABELS
    assert not found.values("model") - {MODEL, "skin_segmentation", "object_detection"}


def test_other_machines_need_a_key_for_the_action_admin_and_all_models(address: str) -> None:
    assert httpx.get(f"{address}/metrics").status_code == 200
    answer = httpx.get(f"{address}/metrics", headers=ELSEWHERE)
    assert answer.status_code == 403
    assert "admin" in answer.json()["expected"]
    made = {
        "admin": keys.create("prometheus", actions=["admin"])[1],
        "one model": keys.create("one", actions=["admin"], models=[MODEL])[1],
        "predict": keys.create("usual")[1],
        "wrong": f"vl_{'0' * 12}_{'0' * 64}",
    }
    known(address, made["predict"])
    statuses = {
        name: httpx.get(f"{address}/metrics", headers={**ELSEWHERE, **bearer(token)}).status_code
        for name, token in made.items()
    }
    assert statuses == {"admin": 200, "one model": 403, "predict": 403, "wrong": 401}
    for path in ("/metrics/", "/m%65trics"):
        assert httpx.get(f"{address}{path}", headers=ELSEWHERE).status_code in (401, 404)
    assert httpx.get(f"{address}/-/routes", headers={**ELSEWHERE, **bearer(made["admin"])}).status_code == 403
