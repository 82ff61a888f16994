"""What the router does with callers and services that do not play along; the services are stubs, all else is real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.releases import deploy, endpoints, store
from serving.router import traffic
from serving.router.traffic import RoleCounts
from serving.wire.connections import bounded_protocol
from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes
from tests.serving.raw import begun, heard
from tests.serving.stubs import Stub, released, routes, serving
from tests.waiting import until

MODEL = "fruit_features"
PREDICT = f"/v1/models/{MODEL}/predict"
TIMEOUT_S = 3


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    """A router with a short time limit."""
    yield start_router(processes, "forwarding", request_timeout_s=str(TIMEOUT_S), max_upload_mb="128")
    processes.stop("forwarding")


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    """Version 1 of the model, alone."""
    with serving(Stub()) as one, released(address, MODEL, one):
        yield one


def _errors(address: str) -> int:
    rows = httpx.get(f"{address}/v1/usage").json()["rows"]
    return sum(row["errors"] for row in rows if row["model"] == MODEL)


def _counts(calls: int, version: int = 1, role: str = "live") -> RoleCounts:
    """What the router counted in this plan, once it has written so many calls down."""
    plan = store.plan(MODEL)
    assert plan is not None

    def read() -> RoleCounts:
        return traffic.read(MODEL, since=plan.since, revision=plan.revision).get((version, role), RoleCounts())

    until(lambda: read().calls >= calls)
    return read()


def _connected(address: str, sent: str) -> socket.socket:
    """A connection on which this was sent."""
    host, port = address.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=20)
    line.sendall(sent.replace("\n", "\r\n").encode())
    return line


BROKEN_OFF = {
    "buffered": f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 1000\n\nabc",
    "streamed": f"POST {PREDICT} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n3\nabc\n",
}


@pytest.mark.parametrize("how", BROKEN_OFF)
def test_a_body_that_is_broken_off_is_no_error(address: str, stub: Stub, processes: Processes, how: str) -> None:
    log = processes.running["forwarding"].log
    usage, began = _errors(address), len(log.read_bytes())
    with _connected(address, BROKEN_OFF[how]):
        if how == "streamed":
            until(lambda: _in_flight(address))
    until(lambda: not _in_flight(address))
    assert httpx.post(f"{address}{PREDICT}", content=b"x").status_code == 200
    counts = _counts(2 if how == "streamed" else 1)
    assert counts.errors == 0
    assert _errors(address) == usage
    assert b"Traceback" not in log.read_bytes()[began:]


def _in_flight(address: str) -> dict[str, int]:
    return dict(httpx.get(f"{address}/-/routes").json()["in_flight"])


def test_what_a_caller_sends_too_much_of_is_no_error_of_the_version(address: str, stub: Stub) -> None:
    answer = httpx.post(f"{address}{PREDICT}", content=iter([b"\0" * (1 << 20)] * 140), timeout=60)
    assert answer.status_code == 413
    assert _counts(1).errors == 0


def test_a_body_that_does_not_come_in_time_is_408(address: str, stub: Stub) -> None:
    began = time.monotonic()
    with _connected(address, BROKEN_OFF["buffered"]) as line:
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert time.monotonic() - began < TIMEOUT_S + 2
    head, _, said = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head.lower()
    assert json.loads(said)["error"] == "TooSlow"
    assert json.loads(said)["fix"]
    assert stub.seen == []


@pytest.mark.parametrize("http", [bounded_protocol(), HttpToolsProtocol], ids=["our services", "one that resets"])
@pytest.mark.parametrize("status", [408, 413, 415])
def test_a_refusal_in_mid_body_leaves_the_live_version_up(
    address: str, http: type[asyncio.Protocol], status: int
) -> None:
    with serving(Stub(), http) as stub, released(address, MODEL, stub):
        stub.early, stub.status, stub.headers = True, status, {"Connection": "close"}
        statuses = [
            httpx.post(f"{address}{PREDICT}", content=iter([bytes(1 << 18)] * 60), timeout=30).status_code
            for _ in range(15)
        ]
        stub.early, stub.status = False, 200
        assert routes(address)[MODEL]["down"] is False
        assert httpx.post(f"{address}{PREDICT}", content=b"x").status_code == 200
        assert _counts(16).errors == 0
    if http is HttpToolsProtocol:  # the answer may be lost with the connection; then it is no fault of the version
        assert set(statuses) <= {status, 503}
    else:
        assert set(statuses) == {status}


@pytest.mark.parametrize("where", ["before the answer", "in the answer", "in a long answer"])
def test_a_service_that_is_well_is_not_taken_for_dead(address: str, stub: Stub, where: str) -> None:
    stub.dies, stub.body = True, bytes(9 << 20 if where == "in a long answer" else 10)
    if where == "before the answer":
        stub.headers = {"bad name": "x"}  # uvicorn ends the connection
    with contextlib.suppress(httpx.RemoteProtocolError):
        assert httpx.post(f"{address}{PREDICT}", content=b"x").status_code == 503
    assert routes(address)[MODEL]["down"] is False
    until(lambda: _counts(1).errors == 1)  # an answer that ends in the middle is none
    stub.dies, stub.headers, stub.well = False, {}, False
    assert httpx.post(f"{address}{PREDICT}", content=b"x").status_code == 200


def test_an_answer_that_is_cut_off_is_an_error_for_all(address: str, stub: Stub, processes: Processes) -> None:
    log = processes.running["forwarding"].log
    usage, began = _errors(address), len(log.read_bytes())
    stub.dies, stub.well, stub.body = True, False, bytes(9 << 20)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{address}{PREDICT}", content=b"x")
    until(lambda: _errors(address) == usage + 1)
    until(lambda: routes(address)[MODEL]["down"])
    assert _counts(1).errors == 1
    assert b"Traceback" not in log.read_bytes()[began:]
    stub.dies, stub.well = False, True


def test_headers_go_through_as_they_are(address: str, stub: Stub) -> None:
    sent = [("Accept-Language", "de"), ("Accept-Language", "en"), ("X-Odd", "1"), ("Connection", "X-Odd, keep-alive")]
    stub.headers_sent = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Theirs", "1"), ("Connection", "X-Theirs")]
    for _ in range(2):
        with begun(
            address, f"GET /v1/models/{MODEL}/docs HTTP/1.0\n" + "".join(f"{n}: {v}\n" for n, v in sent)
        ) as line:
            answer = heard(line)
    names = [name for name, _ in stub.headers_seen]
    assert [value for name, value in stub.headers_seen if name == "accept-language"] == ["de", "en"]
    assert not {"x-odd", "cookie", "accept", "accept-encoding", "user-agent"} & set(names)
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert [name for name, _ in answer.headers].count("date") == 1
    assert answer.header("x-theirs") == ""


LEAVES: dict[str, dict[str, Any]] = {
    "buffered": {"method": "POST", "url": PREDICT, "content": b"x"},
    "streamed": {"method": "POST", "url": PREDICT, "content": iter([b"x" * 100_000] * 3)},
    "without a body": {"method": "GET", "url": f"/v1/models/{MODEL}/tasks/x"},
}


@pytest.mark.parametrize("how", LEAVES)
def test_a_caller_that_leaves_is_noticed_by_the_service(
    address: str, stub: Stub, processes: Processes, how: str
) -> None:
    log = processes.running["forwarding"].log
    usage, began = _errors(address), len(log.read_bytes())
    stub.takes_s = 30
    with httpx.Client(base_url=address, timeout=0.6) as client, pytest.raises(httpx.ReadTimeout):
        client.request(**LEAVES[how])
    until(lambda: stub.left == 1, within_s=2)
    until(lambda: not _in_flight(address), within_s=2)
    assert _errors(address) == usage
    assert b"Traceback" not in log.read_bytes()[began:]
    if LEAVES[how]["method"] == "POST":
        counts = _counts(1)
        assert (counts.calls, counts.errors) == (1, 0)
        assert counts.latencies.quantile(1.0) > 420, "it took at least as long as the caller waited"
    stub.takes_s = 0.3
    assert httpx.post(f"{address}{PREDICT}", content=b"x").status_code == 200


@pytest.fixture
def two(address: str, stub: Stub) -> Iterator[Stub]:
    """Version 2, which has taken over from version 1; that one is kept warm."""
    with serving(Stub()) as other:
        endpoints.announce(MODEL, 2, other.url, "stub:2")
        store.switch(MODEL, 2)
        until(lambda: routes(address)[MODEL]["version"] == 2 and routes(address)[MODEL]["previous"])
        yield other


@pytest.mark.parametrize(
    ("method", "path", "again"),
    [
        ("POST", "predict", True),
        ("GET", "tasks/x", True),
        ("GET", "tasks/x/result", True),
        ("POST", "tasks", False),
        ("DELETE", "tasks/x", False),
    ],
)
def test_only_what_changes_nothing_is_asked_again_after_a_death(
    address: str, stub: Stub, two: Stub, method: str, path: str, again: bool
) -> None:
    two.dies = True
    answer = httpx.request(method, f"{address}/v1/models/{MODEL}/{path}")
    assert len(two.seen) == 1
    assert answer.status_code == (200 if again else 503)
    assert len(stub.seen) == again


def test_a_task_is_looked_for_at_both_versions(address: str, stub: Stub, two: Stub) -> None:
    two.status = 404
    assert httpx.delete(f"{address}/v1/models/{MODEL}/tasks/x").status_code == 200
    assert (len(two.seen), len(stub.seen)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "status", "role"),
    [
        ("tasks/x/result", 200, "canary"),
        ("tasks/x/result", 409, "live"),
        ("tasks/x", 200, "live"),
        ("predict", 200, "live"),
    ],
)
def test_the_result_of_a_task_keeps_the_role_it_was_worked_out_in(
    address: str, stub: Stub, path: str, status: int, role: str
) -> None:
    stub.headers, stub.status = {"X-Model-Version": "2", "X-Release-Role": "canary"}, status
    answer = httpx.get(f"{address}/v1/models/{MODEL}/{path}")
    assert (answer.status_code, answer.headers["x-model-version"]) == (status, "2")
    assert answer.headers.get_list("x-release-role") == [role]


@pytest.fixture
def canary(address: str, stub: Stub) -> Iterator[Stub]:
    """Version 2, which gets nearly all requests of this plan."""
    with serving(Stub()) as other:
        endpoints.announce(MODEL, 2, other.url, "stub:2")
        plan = store.change(MODEL, "canary", kind="canary", second=2, share=99)
        until(lambda: routes(address)[MODEL]["revision"] == plan.revision)
        yield other


@pytest.mark.parametrize(("status", "refused", "errors"), [(429, 20, 0), (503, 0, 20)])
def test_the_live_version_answers_what_a_canary_cannot_take(
    address: str, canary: Stub, status: int, refused: int, errors: int
) -> None:
    canary.status = status
    with httpx.Client(base_url=address) as client:
        while len(canary.seen) < 20:
            answer = client.post(PREDICT, content=b"x")
            assert (answer.status_code, answer.headers["x-release-role"]) == (200, "live")
    counts = _counts(20, 2, "canary")
    assert (counts.calls, counts.refused, counts.errors, counts.retried) == (20, refused, errors, 20)


@pytest.mark.parametrize("status", [429, 503])
def test_what_a_canary_says_reaches_the_caller_where_nobody_stands_in(address: str, canary: Stub, status: int) -> None:
    nobody = f"http://127.0.0.1:{deploy.free_port()}"
    endpoints.announce(MODEL, 1, nobody, "stub:1")
    until(lambda: routes(address)[MODEL]["url"] == nobody)
    canary.status, canary.headers = status, {"Retry-After": "7"}
    answers = [httpx.post(f"{address}{PREDICT}", content=b"x", timeout=30) for _ in range(3)]
    assert (status, "7", "canary") in [
        (one.status_code, one.headers["retry-after"], one.headers.get("x-release-role")) for one in answers
    ]
