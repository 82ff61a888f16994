"""The Python client's several files and tasks, against a real router with a real service behind it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import (
    BadInput,
    MissingService,
    NotFound,
    Refused,
    TooLarge,
    UnsupportedMedia,
    VisionloopError,
)
from serving.access import keys
from serving.client.clients import AsyncClient, Client
from serving.client.schemas import Prediction, Task
from tests.bundles import MODEL, make_scan
from tests.serving.access.conftest import known


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("python tasks")[1])


@pytest.fixture
def client(live: str, token: str) -> Iterator[Client]:
    with Client(live, token) as opened:
        yield opened


def test_several_files_get_an_answer_or_an_error_each(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(make_scan(2))
    first, bad, second = client.predict_many(MODEL, [make_scan(1), b"a letter", path])
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert isinstance(bad, UnsupportedMedia)
    assert bad.fix
    for found, body in ((first, make_scan(1)), (second, make_scan(2))):
        assert found.findings == client.predict(MODEL, body).findings
    assert first.id != second.id
    assert client.prediction(second.id).outcome == "ok"


@pytest.mark.parametrize(("body", "kind"), [(make_scan(1), Prediction), (b"x", UnsupportedMedia)])
def test_a_list_of_one_is_a_list(client: Client, body: bytes, kind: type) -> None:
    (found,) = client.predict_many(MODEL, [body])
    assert isinstance(found, kind)


def test_extras_come_with_each_of_several(client: Client) -> None:
    for found in client.predict_many(MODEL, [make_scan(1), make_scan(2)], explain=True, image=True):
        assert isinstance(found, Prediction)
        assert found.image is not None
        assert found.explanation is not None


@pytest.mark.parametrize(("count", "kind"), [(0, BadInput), (17, TooLarge)])
def test_none_and_too_many_are_refused_as_a_whole(client: Client, count: int, kind: type[VisionloopError]) -> None:
    with pytest.raises(kind) as caught:
        client.predict_many(MODEL, [make_scan(1)] * count)
    assert caught.value.fix


def test_a_task_from_its_submission_to_its_result(client: Client) -> None:
    seen: list[Task] = []
    task = client.submit(MODEL, make_scan(1))
    assert (task.model, task.over, task.error) == (MODEL, False, None)
    result = client.wait(MODEL, task.id, seen.append)
    assert result.prediction.findings == client.predict(MODEL, make_scan(1)).findings
    assert result.media == "application/json"
    last = client.task(MODEL, task.id)
    assert seen[-1] == last
    assert (last.state, last.done, last.total, last.attempts) == ("done", 1, 1, 1)
    assert last.created is not None
    assert last.finished is not None
    assert last.finished >= last.created
    assert client.result(MODEL, task.id) == result
    assert [client.cancel(MODEL, task.id) for _ in range(2)] == [last, last]
    assert client.remove(MODEL, task.id) == last.model_copy(update={"removed": True})
    with pytest.raises(NotFound):
        client.task(MODEL, task.id)


def test_a_task_of_several_files(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(make_scan(2))
    first, bad, second = client.wait(MODEL, client.submit(MODEL, [make_scan(1), b"x", path]).id).predictions
    assert isinstance(first, Prediction)
    assert isinstance(bad, UnsupportedMedia)
    assert isinstance(second, Prediction)
    (only,) = client.wait(MODEL, client.submit(MODEL, [path]).id).predictions
    assert isinstance(only, Prediction)
    assert only.findings == second.findings


def test_a_result_can_be_a_picture(client: Client) -> None:
    result = client.wait(MODEL, client.submit(MODEL, make_scan(1), "image/jpeg").id)
    assert (result.media, result.content[:2], result.predictions) == ("image/jpeg", b"\xff\xd8", ())
    with pytest.raises(BadInput, match="image/jpeg"):
        _ = result.prediction


def test_what_failed_raises_why(client: Client) -> None:
    task = client.submit(MODEL, b"a letter")
    with pytest.raises(UnsupportedMedia) as caught:
        client.wait(MODEL, task.id)
    error = client.task(MODEL, task.id).error
    assert type(error) is type(caught.value)
    assert str(error) == str(caught.value)


def test_what_is_not_done_in_time_or_was_cancelled_is_refused(client: Client) -> None:
    tasks = [client.submit(MODEL, [make_scan(n) for n in range(16)]) for _ in range(4)]
    with pytest.raises(Refused, match=r"queued|running"):
        client.wait(MODEL, tasks[-1].id, timeout_s=0)
    assert client.cancel(MODEL, tasks[-1].id).state == "cancelled"
    with pytest.raises(Refused, match="cancelled"):
        client.wait(MODEL, tasks[-1].id)
    for task in tasks[:-1]:
        client.cancel(MODEL, task.id)


def test_async_calls_do_the_same(live: str, token: str) -> None:
    async def run() -> None:
        async with AsyncClient(live, token) as client:
            seen: list[Task] = []
            tasks = await asyncio.gather(*(client.submit(MODEL, make_scan(n)) for n in range(3)))
            results = await asyncio.gather(*(client.wait(MODEL, task.id, seen.append) for task in tasks))
            assert len({result.prediction.id for result in results}) == 3
            assert {task.id for task in seen if task.state == "done"} == {task.id for task in tasks}
            assert await client.result(MODEL, tasks[0].id) == results[0]
            assert (await client.task(MODEL, tasks[0].id)).over
            assert (await client.cancel(MODEL, tasks[0].id)).over
            found = await client.predict_many(MODEL, [make_scan(1), b"x"])
            assert [type(one) for one in found] == [Prediction, UnsupportedMedia]
        async with AsyncClient("http://127.0.0.1:9", patience_s=0.3) as nobody:
            with pytest.raises(MissingService):
                await nobody.wait(MODEL, "0" * 32)

    asyncio.run(run())


@pytest.mark.parametrize("task_id", ["", "../predict", "a/result"])
def test_what_is_no_id_is_refused_before_anything_is_asked(task_id: str) -> None:
    with Client("http://127.0.0.1:9") as client:
        for ask in (client.task, client.result, client.cancel, client.wait):
            with pytest.raises(BadInput, match="task id"):
                ask(MODEL, task_id)


@contextmanager
def telling(states: list[tuple[str, int] | None]) -> Iterator[tuple[str, list[float]]]:
    """An API that tells how far a task is, look by look, and at what moments it was asked; None: it hangs up."""
    asked: list[float] = []
    result = {"id": "1", "model": MODEL, "version": 1, "role": "live", "elapsed_ms": 1.0, "timings_ms": {}}

    class Told(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said: dict[str, Any] = result
            if not self.path.endswith("/result"):
                asked.append(time.monotonic())
                state = states[min(len(asked), len(states)) - 1]
                if state is None:
                    self.close_connection = True
                    return
                named = dict(zip(("state", "done"), state, strict=True))
                nothing = dict.fromkeys(("media", "error", "created", "begun", "finished"))
                said = {"id": "1", "model": MODEL, "total": 3, "attempts": 1, **named, **nothing}
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_waiting_tells_what_is_new_and_outlives_a_short_outage() -> None:
    states = [("queued", 0), ("running", 1), ("running", 1), None, None, ("running", 2), ("done", 3)]
    seen: list[tuple[str, int]] = []
    with telling(states) as (address, asked), Client(address, patience_s=20) as client:
        found = client.wait(MODEL, "1", lambda task: seen.append((task.state, task.done)), every_s=0.3)
    assert found.prediction.version == 1
    assert seen == [("queued", 0), ("running", 1), ("running", 2), ("done", 3)]
    assert len(asked) == len(states)


def test_waiting_looks_less_and_less_often_but_not_less_than_said() -> None:
    with telling([("running", 0)] * 7 + [("done", 3)]) as (address, asked), Client(address) as client:
        client.wait(MODEL, "1", every_s=0.6)
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert pauses[0] < pauses[2]
    assert pauses[0] >= 0.2
    assert all(pause >= 0.6 for pause in pauses[3:])
    assert sum(pauses) < 10


def test_an_outage_that_lasts_is_raised() -> None:
    began = time.monotonic()
    with Client("http://127.0.0.1:9", patience_s=0.5) as client, pytest.raises(MissingService):
        client.wait(MODEL, "1")
    assert 0.5 <= time.monotonic() - began < 10
