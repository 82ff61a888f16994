"""Tasks: submitted, looked at, fetched, cancelled; and a service that is killed in the middle of one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.log.shipping import KEEPER
from registry.contract import catalog
from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from serving.releases import deploy, packaging
from serving.service.http_server import DRAIN_DELAY_S
from serving.tasks import store
from serving.tasks.runner import POLL_S
from tests.clips import make_clip, scene
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.serving.conftest import Numbered, Processes, Running
from tests.serving.local_api import answering
from tests.waiting import until

MODEL = "object_detection"
PICTURE = to_jpeg(scene(1, 160, 120))
FRAMES = 160


@pytest.fixture(scope="module")
def client(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service whose network takes a while."""
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(tmp_path_factory.mktemp("tasks") / "bundle", spec, work=20)
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
        yield one


def once(client: httpx.Client, identity: str, wanted: Callable[[dict[str, Any]], bool], within_s: float = 90) -> Any:
    """The task, once it is as `wanted`."""

    def look() -> dict[str, Any] | None:
        found = client.get(f"/tasks/{identity}").json()
        return found if wanted(found) else None

    return until(look, within_s)


def is_over(task: dict[str, Any]) -> bool:
    return task["state"] in store.FINISHED


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
    identity = client.post("/tasks?format=webm", content=make_clip(FRAMES, (192, 128))).json()["id"]
    seen = once(client, identity, lambda task: 0 < task["done"] < task["total"] or is_over(task))
    assert seen["total"] == FRAMES, seen
    assert client.get(f"/tasks/{identity}/result").status_code == 409
    assert once(client, identity, is_over)["state"] == "done"
    result = client.get(f"/tasks/{identity}/result")
    assert result.headers["content-type"] == "video/webm"
    assert result.content[:4] == b"\x1aE\xdf\xa3"
    assert client.get(f"/tasks/{identity}").json()["done"] == FRAMES


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
    assert not store.task_folder(identity).exists()


def test_a_result_is_streamed_by_parts_too_and_gone_is_gone(client: httpx.Client) -> None:
    identity = client.post("/tasks?format=jpg", content=PICTURE).json()["id"]
    once(client, identity, is_over)
    whole = client.get(f"/tasks/{identity}/result")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "image/jpeg")
    assert whole.headers["x-prediction-id"]
    part = client.get(f"/tasks/{identity}/result", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    (store.task_folder(identity) / names(identity)[0]).unlink()
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
    return {path.name for path in store.task_folder("").glob("*")}


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
    assert names(queued) == []
    until(lambda: not names(running), 10)


def names(identity: str) -> list[str]:
    return [path.name for path in store.task_folder(identity).glob("*")]


def test_what_belongs_to_no_task_goes_when_it_is_as_old_as_a_task_may_be(client: httpx.Client) -> None:
    kept = client.post("/tasks", content=PICTURE).json()["id"]
    lost, young = (store.task_folder(digit * 32) for digit in "ab")
    for folder in (lost, young):
        (folder / "nested").mkdir(parents=True)
    long_ago = time.time() - 86400 * settings().retention_days - 60
    for folder in (lost, store.task_folder(kept)):
        os.utime(folder, (long_ago, long_ago))
    store.prune()
    assert [folder.exists() for folder in (lost, young, store.task_folder(kept))] == [False, True, True]


@pytest.mark.parametrize("end", ["finish", "fail", "leave", "prune", "cancel"])
def test_whoever_ends_a_cancelled_task_its_inputs_go(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    from serving.wire.negotiation import ResponseFormat

    if end in ("prune", "cancel"):  # its service is dead
        monkeypatch.setattr(store, "LEASE_S", -1.0)
    task = store.submit("face_gender", 1, ResponseFormat("application/json"), "me", "champion", [PICTURE], False)
    assert store.claim("face_gender", 1, "one")
    cancelled = store.cancel("face_gender", task.id)
    assert cancelled.state == "cancelled"
    assert names(task.id) == ([] if end == "cancel" else ["input-0"]) or end == "prune"
    if end == "finish":
        assert not store.finish(task.id, "one", b"x", "text/plain", {})
    elif end == "fail":
        store.fail(task.id, "one", {})
    elif end == "leave":
        store.give_back(task.id, "one")
    elif end == "prune":
        (store.task_folder(task.id) / "input-0").write_bytes(PICTURE)  # as one leaves it that is killed before it can
        store.prune()
    assert names(task.id) == []
    assert store.find("face_gender", task.id).state == "cancelled"


def test_one_of_two_services_gets_a_task_and_keeps_it_while_it_lives(client: httpx.Client) -> None:
    from serving.wire.negotiation import ResponseFormat

    task = store.submit("weapon_detection", 1, ResponseFormat("application/json"), "me", "champion", [PICTURE], False)
    claimed = [store.claim("weapon_detection", 1, owner) for owner in ("first", "second")]
    assert [one and one.id for one in claimed] == [task.id, None]
    assert store.renew_lease(task.id, "first", 0, 1)
    assert not store.renew_lease(task.id, "second", 0, 1)
    assert not store.finish(task.id, "second", b"x", "text/plain", {})
    assert store.finish(task.id, "first", b"x", "text/plain", {})
    assert store.result_file(task.id, "first").read_bytes() == b"x"


def test_another_version_works_on_a_task_only_when_its_own_has_no_service(client: httpx.Client) -> None:
    from serving.releases import endpoints
    from serving.wire.negotiation import ResponseFormat

    endpoints.announce("weapon_detection", 7, "http://127.0.0.1:1", "none", None)
    task = store.submit("weapon_detection", 7, ResponseFormat("application/json"), "me", "champion", [PICTURE], False)
    assert store.claim("weapon_detection", 8, "other") is None
    endpoints.retire("weapon_detection", 7)
    claimed = store.claim("weapon_detection", 8, "other")
    assert claimed is not None
    assert claimed.id == task.id


def test_a_task_that_kills_its_service_is_given_up_at_last(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.wire.negotiation import ResponseFormat

    monkeypatch.setattr(store, "LEASE_S", -1.0)
    task = store.submit("weapon_detection", 1, ResponseFormat("application/json"), "me", "champion", [PICTURE], False)
    owners = [store.claim("weapon_detection", 1, str(n)) is not None for n in range(store.MAX_ATTEMPTS + 1)]
    assert owners == [True] * store.MAX_ATTEMPTS + [False]
    assert names(task.id) == [], "the inputs of a task that is given up are not kept"
    found = store.find("weapon_detection", task.id)
    assert (found.state, found.error["status"]) == ("failed", 500)


@pytest.fixture(scope="module")
def tag(project: Path) -> str:
    return packaging.package(Numbered(MODEL, 5), make_detector_bundle(project / "mortal", catalog.get(MODEL), work=12))


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """A folder with a database of its own: other services of the model would rightly take its tasks over."""
    with own_database(tmp_path / "var" / "visionloop.db"):
        pass
    return tmp_path / "var"


def _start(processes: Processes, name: str, tag: str, var: Path, **changed: str) -> Running:
    port = deploy.free_port()
    env = {**packaging.serve_environment(), "VISIONLOOP_VAR": str(var), **changed}
    return processes.start(name, packaging.serve_command(tag, port), env, f"http://127.0.0.1:{port}/readyz")


def _rows(var: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(var / "visionloop.db")) as database:
        return database.execute(query).fetchall()


def test_a_service_that_is_stopped_leaves_its_task_to_another(tag: str, processes: Processes, var: Path) -> None:
    service = _start(processes, "stopped", tag, var)
    with httpx.Client(base_url=service.url, timeout=60) as client:
        identity = client.post("/tasks", content=make_clip(3 * FRAMES, (96, 64))).json()["id"]
        once(client, identity, lambda task: task["done"] > 0)
    service.process.terminate()
    # At once, not when it ends.
    until(lambda: _rows(var, "SELECT state FROM tasks_task") == [("queued",)], DRAIN_DELAY_S)
    service.process.wait(30)
    assert _rows(var, "SELECT state, attempts FROM tasks_task") == [("queued", 0)]
    assert _rows(var, "SELECT outcome, status FROM monitoring_prediction") == [("TaskLost", 499)]


def test_a_task_survives_its_service_and_loads_the_database_only_where_there_is_one(
    tag: str, processes: Processes, var: Path
) -> None:
    """Beside a keeper nothing else needs the database."""

    def has_database(service: Running) -> bool:
        return "_sqlite3" in Path(f"/proc/{service.pid}/maps").read_text()

    first = _start(processes, "frugal-1", tag, var, **{KEEPER: "there"})
    with httpx.Client(base_url=first.url, timeout=60) as client:
        assert client.post("/predict", content=PICTURE).status_code == 200
        time.sleep(2 * POLL_S)
        assert not has_database(first)
        identity = client.post("/tasks", content=make_clip(2 * FRAMES, (96, 64))).json()["id"]
        once(client, identity, lambda task: task["done"] > 0)
        assert has_database(first)
    first.process.kill()
    first.process.wait(30)
    assert _rows(var, "SELECT state, attempts FROM tasks_task") == [("running", 1)]
    second = _start(processes, "frugal-2", tag, var, **{KEEPER: "there"})  # which sees that something was left
    with httpx.Client(base_url=second.url, timeout=60) as client:
        task = once(client, identity, is_over, within_s=180)
        assert (task["state"], task["attempts"]) == ("done", 2)
        assert client.get(f"/tasks/{identity}/result").json()["frames"] == 2 * FRAMES
    processes.stop("frugal-2")
    third = _start(processes, "frugal-3", tag, var, **{KEEPER: "there"})
    time.sleep(2 * POLL_S)
    assert not has_database(third), "what is done is no task to work on"
    processes.stop("frugal-3")
