"""`Idempotency-Key`: the same request gets the first answer again, over threads, restarts and lost connections."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.access import keys
from serving.idempotency import store
from serving.idempotency.fingerprint import Fingerprint
from serving.releases import endpoints
from serving.releases import store as releases
from tests.serving.access.conftest import known, start_router
from tests.serving.conftest import Processes
from tests.serving.removal import retire
from tests.serving.stubs import Stub, released, routes, serving
from tests.waiting import until

MODEL = "fruit_features"
PREDICT = f"/v1/models/{MODEL}/predict"
NAME = "idempotent"


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, NAME, require_keys="true", max_upload_mb="64")
    processes.stop(NAME)


@pytest.fixture(scope="module")
def token(address: str) -> str:
    return known(address, keys.create("asks twice", per_minute=0)[1])


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    with serving(Stub()) as one, released(address, MODEL, one):
        one.body = b'{"id": "first"}'
        one.headers = {"X-Prediction-Id": "f" * 32, "Content-Type": "application/json"}
        yield one


def _ask(address: str, token: str, key: str, body: Any = b"x", query: str = "", **sent: Any) -> httpx.Response:
    headers = {"X-API-Key": token, "Content-Type": "image/jpeg", "Idempotency-Key": key}
    if "files" in sent:
        del headers["Content-Type"]
        return httpx.post(f"{address}{PREDICT}{query}", headers=headers, timeout=60, **sent)
    return httpx.post(f"{address}{PREDICT}{query}", content=body, headers=headers, timeout=60)


def _key() -> str:
    return str(uuid.uuid4())


def test_the_first_answer_comes_again_and_nobody_works_twice(address: str, token: str, stub: Stub) -> None:
    key = _key()
    first = _ask(address, token, key)
    stub.body = b'{"id": "second"}'
    again = _ask(address, token, key)
    assert again.content == first.content == b'{"id": "first"}'
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert again.headers["x-prediction-id"] == "f" * 32
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(stub.seen) == 1
    assert _ask(address, token, _key()).json() == {"id": "second"}


def test_another_request_with_the_key_is_422_and_another_caller_is_free(address: str, token: str, stub: Stub) -> None:
    key = _key()
    _ask(address, token, key)
    for body, query in ((b"y", ""), (b"x", "?format=json")):
        answer = _ask(address, token, key, body, query)
        assert (answer.status_code, answer.json()["error"]) == (422, "BadInput")
        assert "another request" in answer.json()["found"]
    somebody = known(address, keys.create("somebody")[1])
    assert _ask(address, somebody, key, b"y").status_code == 200
    assert len(stub.seen) == 2


def test_a_form_is_the_same_whatever_its_boundary(address: str, token: str, stub: Stub) -> None:
    key = _key()
    for _ in range(2):
        assert _ask(address, token, key, files={"file": ("a.jpg", b"apple" * 1000)}).status_code == 200
    assert _ask(address, token, key, files={"file": ("a.jpg", b"Apple" * 1000)}).status_code == 422
    assert len(stub.seen) == 1


def test_a_streamed_body_counts_too(address: str, token: str, stub: Stub) -> None:
    key, piece = _key(), b"v" * (1 << 20)
    answers = [_ask(address, token, key, iter([piece] * 10)) for _ in range(2)]
    assert [one.content for one in answers] == [stub.body] * 2
    assert _ask(address, token, key, iter([piece] * 9)).status_code == 422
    assert len(stub.seen) == 1


def test_what_may_fare_better_the_next_time_is_not_kept(address: str, token: str, stub: Stub) -> None:
    key = _key()
    for status in (503, 429, 500):
        stub.status = status
        assert _ask(address, token, key).status_code == status
    stub.status = 422
    assert _ask(address, token, key).status_code == 422
    stub.status = 200
    assert _ask(address, token, key).headers["idempotent-replayed"] == "true"


def test_while_the_first_is_at_work_the_second_is_409_and_a_caller_that_left_gets_it_later(
    address: str, token: str, stub: Stub
) -> None:
    key, stub.takes_s = _key(), 1.5
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{address}{PREDICT}",
            content=b"x",
            headers={"X-API-Key": token, "Content-Type": "image/jpeg", "Idempotency-Key": key},
            timeout=0.5,
        )
    early = _ask(address, token, key)
    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    until(lambda: _ask(address, token, key).status_code == 200, 10)
    assert len(stub.seen) == 1
    assert stub.left == 0


def test_many_at_once_are_answered_by_one(address: str, token: str, stub: Stub) -> None:
    key, statuses = _key(), list[int]()
    threads = [
        threading.Thread(target=lambda: statuses.append(_ask(address, token, key).status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert len(stub.seen) == 1


def test_it_holds_over_a_restart_of_the_router(address: str, token: str, stub: Stub, processes: Processes) -> None:
    key = _key()
    _ask(address, token, key)
    second = start_router(processes, f"{NAME}-restarted", require_keys="true")
    try:
        again = _ask(known(second, token) and second, token, key)
        assert again.headers["idempotent-replayed"] == "true"
    finally:
        processes.stop(f"{NAME}-restarted")


def test_a_shadow_sees_the_first_request_with_a_key_as_it_sees_others(address: str, token: str, stub: Stub) -> None:
    shadow = Stub()
    shadow.headers = {"Content-Type": "application/json"}  # else the router asks again for what it can compare
    with serving(shadow) as watched:
        endpoints.announce(MODEL, 2, watched.url, "stub:2")
        plan = releases.change(MODEL, "shadow", kind="shadow", second=2)
        until(lambda: routes(address)[MODEL]["revision"] == plan.revision)
        key = _key()
        for _ in range(2):
            assert _ask(address, token, key).json() == {"id": "first"}
        _ask(address, token, _key())
        until(lambda: len(watched.seen) >= 2)
        assert (watched.seen, len(stub.seen)) == (["POST /predict"] * 2, 2)
        retire(MODEL, 2)


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
def test_a_key_that_is_none_is_422(address: str, token: str, stub: Stub, key: str) -> None:
    answer = _ask(address, token, key)
    assert (answer.status_code, stub.seen) == (422, [])


def test_an_abandoned_request_is_taken_over_and_an_old_one_begins_anew(project: Path) -> None:
    from serving.idempotency.models import KeyedRequest

    key, minute = _key(), timedelta(minutes=1)
    first = store.begin("me", key, "f1", minute)
    assert isinstance(first, store.Claim)
    assert isinstance(store.begin("me", key, "f1", minute), store.Earlier)
    KeyedRequest.objects.filter(pk=first.row).update(lease=datetime.now(UTC) - minute)
    second = store.begin("me", key, "f1", minute)
    assert isinstance(second, store.Claim)
    store.finish(first, "f1", 200, [], b"of the one that came back", "")
    store.finish(second, "f1", 200, [], b"{}", "p1 p2")
    earlier = store.begin("me", key, "f1", minute)
    assert isinstance(earlier, store.Earlier)
    assert earlier.body == b"{}"
    store.forget("me", "p2")
    assert isinstance(store.begin("me", key, "f2", minute), store.Claim)
    KeyedRequest.objects.filter(key=key).update(created=datetime.now(UTC) - store.KEPT - minute)
    store.prune()
    assert not KeyedRequest.objects.filter(key=key).exists()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_boundary_is_left_out_however_the_body_is_cut(size: int) -> None:
    def digest(boundary: str) -> str:
        found = Fingerprint("POST", "/p", "", f'multipart/form-data; boundary="{boundary}"', "*/*")
        body = f"--{boundary}\r\n\r\napple ab12c\r\n--{boundary}--\r\n"
        for at in range(0, len(body), size):
            found.update(body.encode()[at : at + size])
        return found.hexdigest()

    assert digest("ab12cd") == digest("zzzzzzzzzzzz")
