"""More requests than a service can answer: it refuses some at once and answers the others, and nobody's work is done
that nobody waits for."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.contract import catalog
from registry.core.errors import Overloaded
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.vision.picture import to_jpeg
from serving.wire.admission import MAX_WAITING, AdmissionQueue
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.waiting import until

PICTURE = to_jpeg(scene(1, 160, 120))
WAITING = 6
SLOTS = 8  # of a service of pictures on a machine with no more cores


@pytest.fixture(scope="module")
def slow(project: object, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A detector that takes some 50 ms on two cores."""
    return make_detector_bundle(tmp_path_factory.mktemp("slow") / "bundle", catalog.get("object_detection"), work=40)


@pytest.fixture(scope="module")
def address(slow: Bundle) -> Iterator[str]:
    """A service in which six may wait, each for two seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_MAX_WAITING", str(WAITING))
        patch.setenv("VISIONLOOP_REQUEST_TIMEOUT_S", "20")
        settings.cache_clear()
        with answering(catalog.get("object_detection"), slow.path) as (address, _):
            yield address
    settings.cache_clear()


def at_once(address: str, count: int, **options: object) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post("/predict", content=PICTURE, **options) for _ in range(count)))

    return asyncio.run(ask())


def number(address: str, name: str) -> float:
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def done(address: str) -> float:
    """Inputs that went through the network."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("visionloop_step_seconds_count{") and 'step="network"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in counts)


def test_a_hundred_at_once_are_answered_or_told_when_to_come_back(address: str) -> None:
    answers = at_once(address, 100)
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 429}, counts
    assert counts[200] >= WAITING
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 20
            assert answer.json()["error"] == "Overloaded"
            assert answer.json()["fix"]
            assert answer.headers["x-model-version"] == "1"
    found = [answer.json()["detections"] for answer in answers if answer.status_code == 200]
    assert found.count(found[0]) == len(found)
    assert httpx.post(f"{address}/predict", content=PICTURE).status_code == 200
    assert number(address, "visionloop_rejected_total{") >= counts[429]


def test_the_queue_is_in_the_metrics_and_empty_afterwards(address: str) -> None:
    async def ask() -> list[float]:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            asking = [asyncio.create_task(client.post("/predict", content=PICTURE)) for _ in range(SLOTS + WAITING)]
            seen = []
            while not all(one.done() for one in asking):
                text = (await client.get("/metrics")).text
                seen += [
                    float(s.rpartition(" ")[2]) for s in text.splitlines() if s.startswith("visionloop_queue_length{")
                ]
            return seen

    assert max(asyncio.run(ask())) >= 2
    assert number(address, "visionloop_queue_length{") == 0
    assert number(address, "visionloop_queue_capacity{") == WAITING
    assert number(address, "visionloop_service_seconds{") > 0


def test_a_request_with_more_files_than_places_is_refused_while_others_are_worked_on(address: str) -> None:
    files = [("file", ("a.jpg", PICTURE))] * 16

    async def ask() -> tuple[int, set[int]]:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            others = [asyncio.create_task(client.post("/predict", content=PICTURE)) for _ in range(4)]
            while number(address, "visionloop_requests_running{") < 1:
                await asyncio.sleep(0)
            many = await client.post("/predict", files=files)
            return many.status_code, {(await one).status_code for one in others}

    assert asyncio.run(ask()) == (429, {200})
    alone = httpx.post(f"{address}/predict", files=files, timeout=60)
    assert (alone.status_code, len(alone.json()["results"])) == (200, 16)


def test_what_nobody_waits_for_is_not_done(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    before = done(address)
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(PICTURE)}\r\n\r\n".encode()
    lines = [socket.create_connection((host, int(port))) for _ in range(SLOTS + WAITING)]
    for line in lines:
        line.sendall(head + PICTURE)
    time.sleep(0.05)
    for line in lines:
        line.close()
    until(lambda: not number(address, "visionloop_requests_running{"))
    assert done(address) - before < SLOTS + WAITING - 2, "those that waited were not begun"
    assert 'status="499"' in httpx.get(f"{address}/metrics").text
    assert httpx.post(f"{address}/predict", content=PICTURE).status_code == 200


def test_what_waited_too_long_is_not_done(slow: Bundle) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_REQUEST_TIMEOUT_S", "0.2")
        settings.cache_clear()
        with answering(catalog.get("object_detection"), slow.path) as (address, worker):
            patch.setattr("serving.service.worker.GRACE_S", 0.0)
            counts = Counter(answer.status_code for answer in at_once(address, 100))
            assert worker.queue.waiting == 0
            finished = done(address)
    settings.cache_clear()
    assert set(counts) <= {200, 429, 503}
    assert counts[503] > 0
    assert finished < 50


def test_the_log_has_what_the_caller_got_of_work_that_came_too_late(project: object, tmp_path: Path) -> None:
    quicker = make_detector_bundle(tmp_path / "bundle", catalog.get("object_detection"), work=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_REQUEST_TIMEOUT_S", "0.3")
        settings.cache_clear()
        with answering(catalog.get("object_detection"), quicker.path) as (address, _):
            patch.setattr("serving.service.worker.GRACE_S", 0.0)
            late = httpx.post(f"{address}/explain", content=PICTURE)  # 65 times the network
            assert late.status_code == 503
            assert logged(late.headers["x-prediction-id"]) == ("MissingService", 503)
    settings.cache_clear()


def test_the_log_has_what_became_of_work_whose_caller_went(address: str) -> None:
    from monitoring.log.models import Prediction

    gone = Prediction.objects.filter(outcome="CallerGone", status=499, caller="who goes")
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /explain HTTP/1.1\r\nHost: {host}\r\nX-Caller: who goes\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head.encode() + PICTURE)
        time.sleep(0.5)  # longer than callers are not watched, shorter than the work
    until(lambda: gone.exists())


def logged(identity: str) -> tuple[str, int]:
    """Outcome and status of a prediction in the log, once it is there."""
    from monitoring.log.models import Prediction

    row = until(lambda: Prediction.objects.filter(id=identity).first())
    return row.outcome, row.status


def test_a_line_is_as_long_as_can_be_answered_in_half_of_the_time() -> None:
    line = AdmissionQueue(slots=2, limit=0, timeout_s=60)
    assert line.capacity == MAX_WAITING
    line.record(1.0)
    assert line.capacity == 60
    for _ in range(200):
        line.record(100.0)
    assert line.capacity == 2


def test_retry_after_follows_the_measured_time() -> None:
    line = AdmissionQueue(slots=2, limit=4, timeout_s=60)
    line.record(3.0)
    with line.places(2), line.places(4):
        with pytest.raises(Overloaded) as refused, line.places(1):
            pytest.fail("there was no room")
        assert (line.running, line.waiting) == (2, 4)
        assert refused.value.retry_after_s == 8  # five more at 3 s each, two at a time
    assert (line.running, line.waiting) == (0, 0)
