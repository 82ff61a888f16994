"""Tasks over HTTP: submitted, looked at, fetched, cancelled."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.contract import catalog
from serving.tasks import store, task_files
from tests.clips import make_clip
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.serving.tasks.asking import FRAMES, MODEL, PICTURE, is_over, names, once
from tests.waiting import until

JPEG_STARTS = b"\xff\xd8\xff"


@pytest.fixture(scope="module")
def client(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service whose network takes a while."""
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(tmp_path_factory.mktemp("tasks") / "bundle", spec, work=10)
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
        yield one


def test_a_task_gives_what_the_prediction_gives(client: httpx.Client) -> None:
    answer = client.post("/tasks", content=PICTURE, headers={"X-Release-Role": "canary"})
    assert answer.status_code == 202
    task = answer.json()
    assert answer.headers["location"] == task["url"] == f"/tasks/{task['id']}"
    assert task["result_url"] == f"{task['url']}/result"
    assert task["state"] in ("queued", "running")
    assert once(client, task["id"], is_over)["state"] == "done"
    result = client.get(f"/tasks/{task['id']}/result")
    plain = client.post("/predict", content=PICTURE).json()
    assert result.status_code == 200
    assert result.json()["detections"] == plain["detections"] != []
    assert result.headers["x-prediction-id"] == result.json()["id"]
    assert result.json()["role"] == result.headers["x-release-role"] == "canary"


def test_a_video_shows_its_progress_and_comes_back_as_a_video(client: httpx.Client) -> None:
    identity = client.post("/tasks?format=webm&image=true", content=make_clip(FRAMES, (192, 128))).json()["id"]
    seen = once(client, identity, lambda task: 0 < task["done"] < task["total"] or is_over(task))
    assert seen["total"] == FRAMES, seen
    assert client.get(f"/tasks/{identity}/result").status_code == 409
    assert once(client, identity, is_over)["state"] == "done"
    result = client.get(f"/tasks/{identity}/result")
    assert result.headers["content-type"] == "video/webm"
    assert result.content[:4] == b"\x1aE\xdf\xa3"
    assert client.get(f"/tasks/{identity}").json()["done"] == FRAMES
    beside = client.get(f"/tasks/{identity}/result", params={"format": "json"})
    assert beside.headers["content-type"] == "application/json"
    assert "content-disposition" not in beside.headers
    assert beside.json()["id"] == beside.headers["x-prediction-id"] == result.headers["x-prediction-id"]
    assert len(beside.json()["detections"]) == FRAMES
    assert b64decode(beside.json()["image"])[:3] == JPEG_STARTS
    assert client.get(f"/tasks/{identity}/result", params={"format": "jpg"}).status_code == 422


def test_several_files_are_one_task(client: httpx.Client) -> None:
    files = [("file", ("a.jpg", body)) for body in (PICTURE, b"a letter", PICTURE)]
    identity = client.post("/tasks", files=files).json()["id"]
    assert once(client, identity, is_over)["state"] == "done"
    results = client.get(f"/tasks/{identity}/result").json()["results"]
    assert results[0]["detections"] == results[2]["detections"] != []
    assert results[1]["status"] == 422


def test_a_bad_file_fails_with_what_the_prediction_would_have_said(client: httpx.Client) -> None:
    identity = client.post("/tasks", content=b"a letter, not a picture").json()["id"]
    task = once(client, identity, is_over)
    assert (task["state"], task["error"]["status"]) == ("failed", 422)
    result = client.get(f"/tasks/{identity}/result")
    assert (result.status_code, result.json()["error"]) == (422, "BadInput")
    assert len(result.headers["x-prediction-id"]) == 32
    assert "not a picture" in result.json()["found"]


@pytest.mark.parametrize("at_work", [True, False])
def test_a_cancelled_task_ends_and_the_next_one_runs(client: httpx.Client, at_work: bool) -> None:
    clip = make_clip(2000, (192, 128), encoder={"preset": "ultrafast"})
    identity = client.post("/tasks", content=clip).json()["id"]
    if at_work:
        once(client, identity, lambda task: task["done"] > 0)
    assert client.delete(f"/tasks/{identity}").json()["state"] == "cancelled"
    assert client.get(f"/tasks/{identity}/result").status_code == 409
    following = client.post("/tasks", content=PICTURE).json()["id"]
    assert once(client, following, is_over, within_s=15)["state"] == "done"
    assert client.get(f"/tasks/{identity}").json()["state"] == "cancelled"


def test_a_second_delete_is_harmless_and_only_purge_removes(client: httpx.Client) -> None:
    clip = make_clip(1000, (96, 64), encoder={"preset": "ultrafast"})
    identity, other = (client.post("/tasks", content=body).json()["id"] for body in (PICTURE, clip))
    over = once(client, identity, is_over)
    for _ in range(2):
        answer = client.delete(f"/tasks/{identity}")
        assert (answer.status_code, answer.json()) == (200, {**over, "removed": False})
    assert client.get(f"/tasks/{identity}/result").status_code == 200
    refused = client.delete(f"/tasks/{other}", params={"purge": "true"})
    assert (refused.status_code, refused.json()["error"]) == (409, "Refused")
    ended = [client.delete(f"/tasks/{other}").json() for _ in range(2)]
    assert ended[0] == ended[1]
    assert (ended[0]["id"], ended[0]["state"]) == (other, "cancelled")
    answer = client.delete(f"/tasks/{identity}", params={"purge": "true"})
    assert (answer.status_code, answer.json()) == (200, {**over, "removed": True})
    assert client.get(f"/tasks/{identity}").status_code == 404
    assert not task_files.task_folder(identity).exists()


def test_a_result_is_streamed_by_parts_too_and_gone_is_gone(client: httpx.Client) -> None:
    identity = client.post("/tasks?format=jpg", content=PICTURE).json()["id"]
    once(client, identity, is_over)
    whole = client.get(f"/tasks/{identity}/result")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "image/jpeg")
    assert whole.headers["x-prediction-id"]
    part = client.get(f"/tasks/{identity}/result", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    (result,) = task_files.task_folder(identity).glob("result-*")
    result.unlink()
    gone = client.get(f"/tasks/{identity}/result")
    assert (gone.status_code, gone.json()["found"]) == (409, "the result is gone")


def test_a_folder_that_is_missing_is_not_told_as_a_result_that_is_gone(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError("var")

    monkeypatch.setattr(store, "check_room", missing)
    answer = client.post("/tasks", content=PICTURE)
    assert (answer.status_code, answer.json()["error"]) == (500, "InternalError")


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ({"params": {"format": "webm"}}, 422),
        ({"headers": {"Accept": "image/jpeg"}}, 406),
        ({"params": {"format": "json"}, "headers": {"Accept": "image/jpeg"}}, 200),
        ({}, 200),
    ],
)
def test_a_result_has_the_format_it_was_submitted_for(client: httpx.Client, ask: dict[str, Any], status: int) -> None:
    identity = client.post("/tasks", content=PICTURE).json()["id"]
    once(client, identity, is_over)
    assert client.get(f"/tasks/{identity}/result", **ask).status_code == status


@pytest.mark.parametrize("path", ["/tasks/none", "/tasks/none/result", "/tasks/..%2f..%2fvisionloop.db"])
def test_a_task_that_there_is_not(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 422),
        (PICTURE, {"Content-Type": "text/plain"}, 415),
        (PICTURE, {"Accept": "text/csv"}, 406),
        (b"{}", {"Content-Type": "application/json"}, 422),
    ],
)
def test_what_cannot_be_submitted_is_refused_at_once(
    client: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/tasks", content=body, headers=headers)
    assert (answer.status_code, bool(answer.json()["fix"])) == (status, True)


def test_more_tasks_than_may_wait_are_told_to_come_back(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_UNFINISHED", 2)
    clip = make_clip(400, (96, 64), encoder={"preset": "ultrafast"})
    waiting = [client.post("/tasks", content=clip).json()["id"] for _ in range(2)]
    before = folders()
    answer = client.post("/tasks", content=PICTURE)
    assert (answer.status_code, answer.json()["error"]) == (429, "Overloaded"), answer.text
    assert answer.headers["retry-after"] == str(store.RETRY_S)
    assert folders() == before
    for identity in waiting:
        client.delete(f"/tasks/{identity}")
    assert client.post("/tasks", content=PICTURE).status_code == 202


def test_a_task_that_would_fill_the_disk_is_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folders()
    monkeypatch.setattr(store, "MIN_FREE_BYTES", 1 << 60)
    answer = client.post("/tasks", content=PICTURE)
    assert (answer.status_code, answer.json()["error"]) == (507, "StorageError"), answer.text
    assert folders() == before


def test_a_task_that_the_database_does_not_take_leaves_nothing_on_the_disk(client: httpx.Client) -> None:
    from django.db import connection

    before = folders()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TRIGGER away BEFORE INSERT ON tasks_task BEGIN SELECT RAISE(ABORT, 'away'); END")
        try:
            answer = client.post("/tasks", content=PICTURE)
        finally:
            cursor.execute("DROP TRIGGER away")
    assert (answer.status_code, answer.json()["error"]) == (503, "MissingService"), answer.text
    assert folders() == before


def folders() -> set[str]:
    return {path.name for path in task_files.task_folder("").glob("*")}


def test_inputs_are_kept_until_a_task_is_over(client: httpx.Client) -> None:
    done, failed = (client.post("/tasks", content=body).json()["id"] for body in (PICTURE, b"a letter"))
    clip = make_clip(1000, (96, 64), encoder={"preset": "ultrafast"})
    running, queued = (client.post("/tasks", content=clip).json()["id"] for _ in range(2))
    once(client, running, lambda task: task["done"] > 0)
    assert [names(one) for one in (running, queued)] == [["input-0"]] * 2
    assert [len(names(one)) for one in (done, failed)] == [1, 0]
    assert names(done)[0].startswith("result-")
    for identity in (queued, running):
        client.delete(f"/tasks/{identity}")
    until(lambda: not names(queued) and not names(running), 10)
