"""Every answer has the request's id, also what was refused before a request was understood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.access import keys
from tests.serving.access.conftest import known, start_router
from tests.serving.conftest import Processes
from tests.serving.raw import connect, heard
from tests.serving.stubs import Stub, released, serving

MODEL = "fruit_features"
HEADER = "X-Request-Id"


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, "request-ids", require_keys="true", max_upload_mb="1")
    processes.stop("request-ids")


@pytest.fixture(scope="module")
def token(address: str) -> str:
    return known(address, keys.create("is told ids")[1])


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    with serving(Stub()) as one, released(address, MODEL, one):
        one.headers = {HEADER: "of-the-service"}
        yield one


def _asked(address: str, path: str, token: str = "", **headers: str) -> httpx.Response:
    keyed = {"X-API-Key": token} if token else {}
    return httpx.post(f"{address}{path}", content=b"x", headers={**keyed, **headers})


@pytest.mark.parametrize("given", ["0b6e-4f", "a/b+c==", "x" * 128])
def test_the_callers_own_id_goes_to_the_service_and_comes_back_once(
    address: str, token: str, stub: Stub, given: str
) -> None:
    answer = _asked(address, f"/v1/models/{MODEL}/predict", token, **{HEADER: given})
    assert answer.headers.get_list(HEADER) == [given]
    assert [value for name, value in stub.headers_seen if name == HEADER.lower()] == [given]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "a,b"])
def test_an_id_that_is_not_sane_is_replaced(address: str, token: str, stub: Stub, given: str) -> None:
    answer = _asked(address, f"/v1/models/{MODEL}/predict", token, **{HEADER: given})
    assert len(answer.headers[HEADER]) == 32
    assert answer.headers[HEADER] != given


def test_errors_have_one_too(address: str, token: str) -> None:
    """Of the door, of the router, of the typed routes, of a path that there is not."""
    answers = {
        401: httpx.get(f"{address}/v1/usage"),
        404: httpx.get(f"{address}/v1/nothing", headers={"X-API-Key": token}),
        405: httpx.put(f"{address}/v1/usage", headers={"X-API-Key": token}),
        413: httpx.post(f"{address}/v1/models/{MODEL}/predict", content=bytes(2 << 20), headers={"X-API-Key": token}),
        422: httpx.get(f"{address}/v1/usage?since=never", headers={"X-API-Key": token}),
        503: _asked(address, f"/v1/models/{MODEL}/predict", token),
        200: httpx.get(f"{address}/healthz"),
    }
    assert {wanted: one.status_code for wanted, one in answers.items()} == {status: status for status in answers}
    ids = [one.headers[HEADER] for one in answers.values()]
    assert len(set(ids)) == len(answers)


@pytest.mark.parametrize(
    ("head", "status"),
    [(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, 431)],
)
def test_what_is_no_http_has_one_too(address: str, head: bytes, status: int) -> None:
    line = connect(address)
    line.sendall(head)
    answer = heard(line)
    assert answer.status == status
    assert len(answer.header(HEADER.lower())) == 32


@pytest.mark.parametrize("path", ["/v1/models?modle=x", "/v1/usage?sinc=2026-01-01", "/v1/whoami?x=1"])
def test_a_misspelt_query_parameter_is_refused(address: str, token: str, path: str) -> None:
    answer = httpx.get(f"{address}{path}", headers={"X-API-Key": token})
    assert (answer.status_code, answer.json()["error"]) == (422, "BadInput")
    assert "query parameter" in answer.json()["found"]
