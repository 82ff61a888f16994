"""The doorkeeper, in real routers: who gets in, how often, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.cli import cli
from serving.access import keys, report
from serving.access.middleware import AccessMiddleware
from serving.releases import endpoints, store
from tests.bundles import MODEL, make_scan
from tests.serving.access.conftest import bearer, known, start_router
from tests.serving.conftest import Processes
from tests.serving.removal import withdraw
from tests.waiting import until

PREDICT = f"/v1/models/{MODEL}/predict"
RAW = {"Content-Type": "application/gzip"}
OTHER = "fruit_features"


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("for tests", "tests")[1])


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_a_key_opens_the_door(live: str, token: str, name: str) -> None:
    value = f"Bearer {token}" if name == "Authorization" else token
    answer = httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, name: value})
    assert answer.status_code == 200
    _wait_for_caller(answer.headers["x-prediction-id"], token.rsplit("_", 1)[0])


def _wait_for_caller(prediction: str, caller: str) -> None:
    from monitoring.log.models import Prediction

    assert until(lambda: Prediction.objects.filter(id=prediction).first()).caller == caller


WRONG = {
    "none": {},
    "nonsense": bearer("hello"),
    "unknown": bearer(f"vl_{'0' * 12}_{'0' * 64}"),
    "empty": {"X-API-Key": ""},
    "another kind": {"Authorization": "Basic dXNlcjpwYXNz"},
    "no Bearer": {"Authorization": f"vl_{'0' * 12}_{'0' * 64}"},
    "another word": {"Authorization": f"Token vl_{'0' * 12}_{'0' * 64}"},
    "not ascii": {"X-API-Key": "vl_\xe9"},
}


@pytest.mark.parametrize("name", WRONG)
def test_without_a_valid_key_it_is_401(live: str, name: str) -> None:
    headers = [(key.encode(), value.encode("latin-1")) for key, value in {**RAW, **WRONG[name]}.items()]
    answer = httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "Unauthorized"
    assert answer.json()["fix"]
    key_without_bearer = "vl_" in WRONG[name].get("Authorization", "Bearer vl_").partition("Bearer")[0]
    assert ("without Bearer" in answer.json()["found"]) == key_without_bearer


def test_two_keys_that_differ_are_refused_and_one_key_twice_is_one(live: str, token: str, other: str) -> None:
    """Whose quota would it be?"""
    usage = f"{live}/v1/usage"
    assert httpx.get(usage, headers={**bearer(token), "X-API-Key": token}).status_code == 200
    answer = httpx.get(usage, headers={**bearer(token), "X-API-Key": other})
    assert (answer.status_code, answer.json()["found"]) == (401, "the request has two keys that differ")


def test_a_wrong_secret_is_401_and_a_foreign_scope_403(live: str, token: str) -> None:
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert httpx.post(f"{live}{PREDICT}", headers=bearer(wrong)).status_code == 401
    other = known(live, keys.create("other", models=[OTHER])[1])
    reader = known(live, keys.create("reader", actions=["read"])[1])
    for one in (other, reader):
        answer = httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, **bearer(one)})
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    for path in ("metrics", "metrics/"):
        assert httpx.get(f"{live}/v1/models/{MODEL}/{path}", headers=bearer(token)).status_code == 403
    assert httpx.post(f"{live}/v1/predictions/{'0' * 32}/feedback", headers=bearer(reader)).status_code == 403


SPELLINGS = [
    f"/v1/models/{OTHER}/predict",
    f"/v1/%6Dodels/{OTHER}/predict",
    f"/v1%2Fmodels/{OTHER}/predict",
    f"/v1/models%2F{OTHER}/predict",
    f"/v1/models/{OTHER}%2Fpredict",
    f"/v1/models/{OTHER}%2F",
    f"/v1/models/%66{OTHER[1:]}/predict",
    f"/v1/models/{OTHER}/%70redict",
    f"/v1/models/{OTHER}/metrics",
    f"/v1/models/{OTHER}/m%65trics",
    f"/v1/models/{OTHER}/metrics/",
    f"/v1/models/{OTHER}//metrics",
    f"/v1/models/{OTHER}/./metrics",
    f"/v1/models/{OTHER}/METRICS",
    f"/v1/models/{OTHER}/metrics;x",
    f"/v1/models/{OTHER}/metrics#x",
    f"/v1/models/{OTHER}/metrics\\",
    f"/v1/models/{OTHER}/metrics\0",
    f"/v1/models/{OTHER}/metrics\t",
    f"/v1/models/{OTHER}/metrics%00",
    f"/v1/models/{OTHER}/metrics%0a",
    f"/v1/models/{OTHER}/metrics%3Fx",
    f"/v1/models/{OTHER}%2Fdocs/metrics",
    f"/v1/models/{OTHER}%2Fstatic_content/metrics",
    f"/v1/models/{OTHER}/static_content/%2e%2e/metrics",
    f"/v1/models/{OTHER}/static_content/../metrics",
    f"/v1/models/{OTHER}/docs%2F..%2Fmetrics",
    f"/v1/models/{MODEL}/../{OTHER}/metrics",
    f"/docs/../v1/models/{OTHER}/metrics",
    f"//v1/models/{OTHER}/metrics",
    f"/V1/models/{OTHER}/metrics",
    f"/v1\\models/{OTHER}/metrics",
    f"http://x/v1/%6Dodels/{OTHER}/metrics",
    f"/v1/%70redictions/{'0' * 32}/feedback",
    f"/v1/predictions%2F{'0' * 32}/feedback",
    "/nothing",
    "*",
]


def _said(router: str, method: str, target: str, token: str = "") -> tuple[int, str]:
    """Status and text of an answer to a target that no HTTP library would send."""
    host, port = router.removeprefix("http://").split(":")
    key = f"X-API-Key: {token}\r\n" if token else ""
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{key}Connection: close\r\n\r\n".encode("latin-1"))
        text = b"".join(iter(lambda: line.recv(65536), b"")).decode()
    return int(text.split()[1]), text


@pytest.mark.parametrize("path", [*SPELLINGS, "/v1/usage"])
def test_no_spelling_of_a_path_gets_around_the_door(echoing: str, path: str) -> None:
    status, text = _said(echoing, "OPTIONS" if path == "*" else "GET", path)
    assert status in (400, 401, 404)
    assert "x-release-role" not in text.lower(), "a service has answered"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_no_spelling_of_a_path_widens_a_keys_scope(echoing: str, narrow: str, method: str) -> None:
    for path in SPELLINGS:
        status, text = _said(echoing, method, path, narrow)
        assert status in (400, 403, 404), path
        assert "x-release-role" not in text.lower(), f"a service has answered {path}"


@pytest.fixture(scope="module")
def narrow(guarded: str) -> str:
    """A key that is for another model, and there not to predict."""
    return known(guarded, keys.create("narrow", models=[MODEL], actions=["read"])[1])


@pytest.mark.parametrize(
    "path",
    [f"/v1%2Fmodels/{MODEL}/predict", f"/v1/models/{MODEL}%2F", "/%2D/routes", "/docs/x%", "/docs/../v1/usage", "//"],
)
def test_a_path_that_is_spelled_otherwise_is_404_with_or_without_a_key(guarded: str, token: str, path: str) -> None:
    for key in ("", token, "nonsense"):
        status, text = _said(guarded, "GET", path, key)
        assert status == 404
        problem = json.loads(text.partition("\r\n\r\n")[2])
        assert problem["error"] == "NotFound"
        assert path in problem["found"]
        assert problem["expected"]
        assert problem["fix"]


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", f"/v1/models/{MODEL}/openapi.json", "/-/routes"])
def test_documents_and_probes_need_no_key(live: str, path: str) -> None:
    assert httpx.get(f"{live}{path}").status_code == 200


def test_a_revoked_key_is_refused_within_two_seconds_by_every_router(live: str, router: str, project: object) -> None:
    api_key, token = keys.create("to be revoked")
    for one in (live, router):
        known(one, token)
    keys.revoke(api_key.id)
    until(
        lambda: all(httpx.get(f"{one}/v1/nothing", headers=bearer(token)).status_code == 401 for one in (live, router)),
        within_s=2,
    )


def test_without_keys_a_wrong_one_is_refused_all_the_same(router: str) -> None:
    assert httpx.post(f"{router}{PREDICT}", content=b"x").status_code == 415
    assert httpx.post(f"{router}{PREDICT}", content=b"x", headers=bearer("hello")).status_code == 401


def test_over_the_quota_of_a_minute_it_is_429(live: str) -> None:
    token = known(live, keys.create("slow", per_minute=8)[1])
    answers = [httpx.get(f"{live}/v1/nothing", headers=bearer(token)) for _ in range(10)]
    left = [int(one.headers["ratelimit-remaining"]) for one in answers]
    assert left == sorted(left, reverse=True)
    assert {one.headers["ratelimit-limit"] for one in answers} == {"8"}
    last = answers[-1]
    assert (last.status_code, last.json()["error"]) == (429, "OverQuota")
    assert last.headers["retry-after"] == last.headers["ratelimit-reset"]
    assert 1 <= int(last.headers["retry-after"]) <= 61


def test_over_the_quota_of_a_month_it_is_429_also_after_a_restart(project: object, processes: Processes) -> None:
    first = start_router(processes, "month-1", require_keys="true", quota_per_minute="0", quota_per_month="6")
    token = keys.create("monthly")[1]
    known(first, token)
    statuses = [httpx.get(f"{first}/v1/nothing", headers=bearer(token)).status_code for _ in range(6)]
    assert (statuses[0], statuses[-1]) == (404, 429)
    processes.stop("month-1")
    second = start_router(processes, "month-2", require_keys="true", quota_per_minute="0", quota_per_month="6")
    answer = httpx.get(f"{second}/v1/nothing", headers=bearer(token))
    assert answer.status_code == 429
    assert "month" in answer.json()["found"]
    now = datetime.now(UTC)
    wait = datetime.now(UTC) + timedelta(seconds=int(answer.headers["retry-after"]))
    assert (wait.day, wait.hour) == (1, 0)
    assert wait > now
    processes.stop("month-2")


def test_addresses_without_a_key_can_have_a_quota(project: object, processes: Processes) -> None:
    address = start_router(processes, "anonymous", anonymous_per_minute="3")
    assert [httpx.get(f"{address}/v1/nothing").status_code for _ in range(4)] == [404, 404, 404, 429]
    assert httpx.get(f"{address}/v1/models").status_code == 200
    processes.stop("anonymous")


def test_what_is_asked_is_counted_and_exported(live: str) -> None:
    api_key, token = keys.create("counted", "a customer")
    known(live, token)
    body = make_scan(1)
    sizes = [
        len(httpx.post(f"{live}{PREDICT}", content=sent, headers={**RAW, **bearer(token)}).content)
        for sent in (body, body, b"not a scan")
    ]

    def counted() -> dict[str, str] | None:
        row = _exported(api_key.caller, MODEL)
        return row if row and (row["requests"], row["errors"]) == ("3", "1") else None

    row = until(counted)
    assert int(row["bytes_in"]) == 2 * len(body) + len(b"not a scan")
    assert int(row["bytes_out"]) == sum(sizes)
    assert float(row["elapsed_ms"]) > 0
    assert row["owner"] == "a customer"


def _exported(caller: str, model: str) -> dict[str, str] | None:
    done = CliRunner().invoke(cli, ["keys", "usage", caller, "--csv", "-"])
    return next((row for row in csv.DictReader(io.StringIO(done.stdout)) if row["model"] == model), None)


@pytest.fixture(scope="module")
def echoing(guarded: str) -> Iterator[str]:
    """The router, with a service behind it that answers everything with the headers it got."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        do_POST = do_DELETE = do_OPTIONS = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoints.announce(OTHER, 1, f"http://127.0.0.1:{server.server_port}", "echo:1")
    store.switch(OTHER, 1)
    until(lambda: OTHER in httpx.get(f"{guarded}/-/routes").json()["routes"])
    yield guarded
    withdraw(OTHER)
    server.shutdown()
    server.server_close()


def test_services_see_who_asks_but_never_a_secret(echoing: str, token: str) -> None:
    headers = {"X-API-Key": token, "Authorization": "Basic dXNlcjpwYXNz", "X-Caller": "somebody else"}
    answer = httpx.get(f"{echoing}/v1/models/{OTHER}/x", headers=headers)
    seen = answer.json()
    assert seen["x-caller"] == token.rsplit("_", 1)[0]
    assert not {"authorization", "x-api-key"} & seen.keys()
    assert token.rsplit("_", 1)[1] not in answer.text


def test_a_database_that_takes_no_writes_delays_nothing_and_loses_no_count(live: str, project: Path) -> None:
    api_key, token = keys.create("during a long write", per_minute=0)
    known(live, token)
    before, sent, slowest = _logged(api_key.id), 0, 0.0
    with contextlib.closing(sqlite3.connect(project / "var" / "visionloop.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            began = time.monotonic()
            assert httpx.get(f"{live}/v1/nothing", headers=bearer(token)).status_code == 404
            sent, slowest = sent + 1, max(slowest, time.monotonic() - began)
        at_work = _logged(api_key.id)
        writer.execute("ROLLBACK")
    assert at_work < before + sent, "the writer blocked nothing: this tests nothing"
    assert slowest < 2
    until(lambda: _logged(api_key.id) >= before + sent)


def _logged(key: str) -> int:
    today = datetime.now(UTC).date()
    return sum(row.requests for row in report.rows(today, today, key))


@pytest.mark.parametrize(
    ("client", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.5", 200), ("10.0.0.9", 403), ("testclient", 403)]
)
def test_the_routes_are_for_this_machine_only(project: Path, client: str, status: int) -> None:
    """The router listens on 10.0.0.5 here; who comes from that address is on the same machine."""

    async def routes(_: Request) -> Response:
        return Response()

    app = AccessMiddleware(Starlette(routes=[Route("/-/routes", routes)]))

    async def ask() -> int:
        transport = httpx.ASGITransport(app, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.5") as caller:
            return (await caller.get("/-/routes")).status_code

    assert asyncio.run(ask()) == status
