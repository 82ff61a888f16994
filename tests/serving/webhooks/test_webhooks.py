"""Webhooks of tasks: asked for through a real router, sent to a real receiver, signed, tried again."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.core.errors import BadInput
from registry.core.settings import settings
from serving.access import keys
from serving.client.clients import Client
from serving.client.webhooks import verify
from serving.webhooks import sender, store
from serving.webhooks.signing import signed_headers
from tests.serving.access.conftest import known, start_router
from tests.serving.conftest import Processes
from tests.serving.stubs import Stub, released, serving

MODEL = "fruit_features"
TASKS = f"/v1/models/{MODEL}/tasks"


class Receiver:
    """Where webhooks go. `status`: what it answers; `got`: body and headers of each call."""

    def __init__(self) -> None:
        self.status, self.got = 204, list[tuple[bytes, dict[str, str]]]()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((body, dict(self.headers)))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?of=me"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, "webhooks", require_keys="true", webhook_private_addresses="true")
    processes.stop("webhooks")


@pytest.fixture(scope="module")
def token(address: str) -> str:
    return known(address, keys.create("has webhooks")[1])


@pytest.fixture
def private(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The receiver of these tests has a private address."""
    monkeypatch.setenv("VISIONLOOP_WEBHOOK_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("VISIONLOOP_PUBLIC_URL", "https://vision.example.com")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def _task(state: str = "running") -> str:
    from serving.tasks.models import Task

    fields: dict[str, Any] = {"wants": {}, "inputs": 1, "several": False, "created": datetime.now(UTC), "role": "live"}
    return str(Task.objects.create(id=uuid.uuid4().hex, model=MODEL, version=1, state=state, **fields).id)


def _end(task: str, state: str) -> None:
    from serving.tasks.models import Task

    Task.objects.filter(id=task).update(state=state)


def _delivery(task: str) -> Any:
    from serving.webhooks.models import Delivery

    return Delivery.objects.get(task=task)


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    """A service that takes a task, which waits in the database."""
    with serving(Stub()) as one, released(address, MODEL, one):
        one.status, one.headers = 202, {"Content-Type": "application/json"}
        one.body = json.dumps({"id": _task(), "state": "queued"}).encode()
        yield one


def test_the_end_of_a_task_is_told_signed_and_once(
    address: str, token: str, stub: Stub, receiver: Receiver, private: None
) -> None:
    headers = {"X-API-Key": token, "Content-Type": "image/jpeg"}
    answer = httpx.post(f"{address}{TASKS}", params={"webhook": receiver.url}, content=b"x", headers=headers)
    assert answer.status_code == 202, answer.text
    assert stub.seen == ["POST /tasks"]
    assert sender.send_due() == 0, "the task is not over"
    task = answer.json()["id"]
    _end(task, "done")
    assert sender.send_due() == 1
    assert sender.send_due() == 0
    ((body, sent),) = receiver.got
    with Client(address, token) as client:
        secret = client.webhook_secret().secret
        assert client.webhook_secret().secret == secret
    message = verify(body, sent, secret)
    assert (message["type"], message["data"]["id"], message["data"]["state"]) == ("task.done", task, "done")
    assert message["data"]["result_url"] == f"https://vision.example.com{TASKS}/{task}/result"
    assert (_delivery(task).outcome, _delivery(task).attempts) == ("delivered", 1)
    with pytest.raises(BadInput):
        verify(body + b" ", sent, secret)
    with pytest.raises(BadInput):
        verify(body, {**sent, "webhook-timestamp": str(int(time.time()) - 400)}, secret)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, secret, 1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(("status", "final"), [(500, False), (302, False), (404, False), (410, True)])
def test_what_is_not_taken_is_tried_again_later(receiver: Receiver, private: None, status: int, final: bool) -> None:
    api_key, _ = keys.create("fails")
    task, receiver.status = _task("failed"), status
    store.note(task, MODEL, api_key.id, receiver.url)
    assert sender.send_due() == 1
    row = _delivery(task)
    assert (row.outcome, row.problem) == ("failed" if final else "", f"the receiver answered {status}")
    assert sender.send_due() == 0, "not at once"
    if final:
        return
    assert timedelta(seconds=0) < row.due - datetime.now(UTC) <= timedelta(seconds=store.PAUSES_S[0])
    receiver.status = 200
    _make_due(task)
    assert sender.send_due() == 1
    assert (_delivery(task).outcome, _delivery(task).attempts) == ("delivered", 2)
    ids = {sent["webhook-id"] for _, sent in receiver.got}
    assert ids == {row.id}, "so that the receiver knows a repetition"


def _make_due(task: str) -> None:
    from serving.webhooks.models import Delivery

    Delivery.objects.filter(task=task).update(due=datetime.now(UTC) - timedelta(seconds=1))


def test_it_ends_after_the_last_attempt(receiver: Receiver, private: None) -> None:
    api_key, _ = keys.create("gives up")
    task, receiver.status = _task("done"), 503
    store.note(task, MODEL, api_key.id, receiver.url)
    for _ in range(len(store.PAUSES_S) + 1):
        _make_due(task)
        assert sender.send_due() == 1
    _make_due(task)
    assert sender.send_due() == 0
    assert (_delivery(task).outcome, len(receiver.got)) == ("failed", 7)


def test_a_private_address_is_not_called(project: Path, receiver: Receiver) -> None:
    """Nor one whose name resolves to one."""
    api_key, _ = keys.create("reaches in")
    urls = [receiver.url, receiver.url.replace("127.0.0.1", "localhost")]
    tasks = [_task("done") for _ in urls]
    for task, url in zip(tasks, urls, strict=True):
        store.note(task, MODEL, api_key.id, url)
    assert sender.send_due() == 2
    assert receiver.got == []
    assert all("is not a public address" in _delivery(task).problem for task in tasks)
    for task in tasks:
        _make_due(task)
        store.end(store.Due(_delivery(task).id, "", "", 9, None), "over")


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://a:b@example.com/", "ftp://x", "x", ""],
)
def test_only_public_https_is_taken(guarded_hooks: tuple[str, str], url: str) -> None:
    address, token = guarded_hooks
    headers = {"X-API-Key": token, "Content-Type": "image/jpeg"}
    answer = httpx.post(f"{address}{TASKS}", params={"webhook": url}, content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (422, "BadInput"), answer.text


@pytest.fixture(scope="module")
def guarded_hooks(project: Path, processes: Processes) -> Iterator[tuple[str, str]]:
    router = start_router(processes, "public-webhooks", require_keys="true")
    yield router, known(router, keys.create("asks out")[1])
    processes.stop("public-webhooks")


def test_without_a_key_there_is_no_webhook(router: str) -> None:
    answer = httpx.post(f"{router}{TASKS}", params={"webhook": "https://example.com/"}, content=b"x")
    assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
