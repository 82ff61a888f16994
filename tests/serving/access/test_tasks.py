"""Tasks through the router: whose they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from registry.core.errors import UnsupportedMedia
from serving.access import keys
from serving.client.clients import Client
from serving.wire.headers import TASK_OWNER_HEADER
from tests.bundles import MODEL, make_scan
from tests.serving.access.conftest import bearer, known
from tests.waiting import until

TASKS = f"/v1/models/{MODEL}/tasks"
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("submits")[1])


@pytest.fixture
def task(live: str, token: str) -> str:
    return submitted(live, token)


def submitted(router: str, token: str) -> str:
    answer = httpx.post(f"{router}{TASKS}", content=make_scan(1), headers=bearer(token), timeout=30)
    assert answer.status_code == 202, answer.text
    place = answer.headers["location"]
    assert place == answer.json()["url"] == f"{TASKS}/{answer.json()['id']}"
    assert httpx.get(f"{router}{place}", headers=bearer(token)).json()["result_url"] == f"{place}/result"
    return str(answer.json()["id"])


def until_done(look: Callable[[], httpx.Response]) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found = dict(look().json())
        return found if found.get("state") == "done" else None

    return until(done, 60) or {}


ASKED = {"look": ("GET", ""), "head": ("HEAD", ""), "result": ("GET", "/result"), "cancel": ("DELETE", "")}


@pytest.mark.parametrize("name", ASKED)
def test_a_foreign_task_is_as_unknown_as_one_that_there_is_not(live: str, task: str, other: str, name: str) -> None:
    method, rest = ASKED[name]
    foreign, unknown = (
        httpx.request(method, f"{live}{TASKS}/{one}{rest}", headers=bearer(other)) for one in (task, UNKNOWN)
    )
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text == unknown.text.replace(UNKNOWN, task)
    volatile = ("date", "ratelimit-remaining", "ratelimit-reset")
    assert [n for n in foreign.headers if n not in volatile] == [n for n in unknown.headers if n not in volatile]


def test_a_task_is_its_keys_own_from_its_submission_to_its_end(live: str, task: str, token: str, other: str) -> None:
    address = f"{live}{TASKS}/{task}"
    httpx.delete(address, headers=bearer(other))  # changes nothing
    until_done(lambda: httpx.get(address, headers=bearer(token)))
    result = httpx.get(f"{address}/result", headers=bearer(token))
    assert result.json()["shape"] == [64, 48, 2]
    assert httpx.get(f"{address}/result", headers=bearer(other)).status_code == 404
    assert httpx.delete(address, headers=bearer(other)).status_code == 404
    assert httpx.delete(address, headers=bearer(token)).status_code == 200
    assert httpx.delete(f"{address}?purge=true", headers=bearer(other)).status_code == 404
    assert httpx.delete(f"{address}?purge=true", headers=bearer(token)).status_code == 200
    assert httpx.get(address, headers=bearer(token)).status_code == 404


def test_an_admin_sees_and_ends_every_task_but_submits_none(live: str, task: str, admin: str) -> None:
    address = f"{live}{TASKS}/{task}"
    until_done(lambda: httpx.get(address, headers=bearer(admin)))
    assert httpx.get(f"{address}/result", headers=bearer(admin)).status_code == 200
    assert httpx.delete(address, headers=bearer(admin)).status_code == 200
    assert httpx.post(f"{live}{TASKS}", content=make_scan(1), headers=bearer(admin)).status_code == 403


@pytest.mark.parametrize(
    "scope",
    [{"actions": ["read", "feedback"]}, {"actions": ["admin"], "models": ["fruit_features"]}],
    ids=["without predict", "admin of another model"],
)
def test_a_key_for_something_else_is_403(live: str, task: str, scope: dict[str, Any]) -> None:
    token = known(live, keys.create("elsewhere", **scope)[1])
    for method, rest in ASKED.values():
        assert httpx.request(method, f"{live}{TASKS}/{task}{rest}", headers=bearer(token)).status_code == 403


@pytest.mark.parametrize("name", [TASK_OWNER_HEADER, TASK_OWNER_HEADER.lower(), "X-Caller", "X-Release-Role"])
def test_nobody_can_say_to_be_somebody_else(live: str, task: str, token: str, other: str, name: str) -> None:
    caller = token.rsplit("_", 1)[0]
    for value in (caller, "*", ""):
        answer = httpx.get(f"{live}{TASKS}/{task}", headers={**bearer(other), name: value})
        assert answer.status_code == 404, value


@pytest.mark.parametrize(
    "path",
    [
        "/tasks%2F{id}",
        "/%74asks/{id}",
        "/tasks/{id}?x=1",
        "/tasks/{id}%2Fresult",
        "/./tasks/{id}",
        "/docs/../tasks/{id}",
    ],
)
def test_no_spelling_of_the_address_shows_a_foreign_task(live: str, task: str, other: str, path: str) -> None:
    with httpx.Client(headers=bearer(other)) as client:
        request = client.build_request("GET", live)
        raw = f"/v1/models/{MODEL}{path.format(id=task)}"
        request.url = request.url.copy_with(raw_path=raw.encode())
        assert client.send(request).status_code == 404


def test_where_no_keys_are_required_an_id_is_all_it_takes(router: str, live: str, other: str) -> None:
    until(lambda: MODEL in httpx.get(f"{router}/-/routes").json()["routes"])
    known(router, other)
    task = submitted(router, other)
    address = f"{router}{TASKS}/{task}"
    until_done(lambda: httpx.get(address))
    assert httpx.get(f"{address}/result").status_code == 200
    assert httpx.get(f"{live}{TASKS}/{task}", headers=bearer(other)).status_code == 200
    assert httpx.delete(address).status_code == 200


def test_tasks_are_listed_newest_first_to_whoever_submitted_them(live: str, other: str, admin: str) -> None:
    token = known(live, keys.create("lists")[1])
    made = [submitted(live, token) for _ in range(3)]
    until_done(lambda: httpx.get(f"{live}{TASKS}/{made[-1]}", headers=bearer(token)))
    first = _listed(live, token, limit=2, model=MODEL)
    rest = _listed(live, token, limit=2, cursor=first["next_cursor"])
    assert [one["id"] for one in (*first["tasks"], *rest["tasks"])] == made[::-1]
    assert rest["next_cursor"] is None
    newest = first["tasks"][0]
    assert (newest["url"], newest["result_url"]) == (f"{TASKS}/{made[-1]}", f"{TASKS}/{made[-1]}/result")
    assert httpx.get(f"{live}{newest['result_url']}", headers=bearer(token)).status_code == 200
    assert httpx.delete(f"{live}{newest['url']}", headers=bearer(token)).status_code == 200
    assert not {one["id"] for one in _listed(live, other)["tasks"]} & {*made}
    assert {*made} <= {one["id"] for one in _listed(live, admin, limit=100)["tasks"]}
    assert _listed(live, token, state="failed")["tasks"] == []


def _listed(router: str, token: str, **query: Any) -> dict[str, Any]:
    answer = httpx.get(f"{router}/v1/tasks", params=query, headers=bearer(token), timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("query", ["state=over", "limit=1000", "cursor=x", "stat=done"])
def test_a_list_of_tasks_names_what_is_wrong(live: str, other: str, query: str) -> None:
    answer = httpx.get(f"{live}/v1/tasks?{query}", headers=bearer(other))
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["found"]


def test_a_key_without_predict_has_no_list(live: str) -> None:
    reads = known(live, keys.create("reads", actions=["read"])[1])
    assert httpx.get(f"{live}/v1/tasks", headers=bearer(reads)).status_code == 403
    assert httpx.get(f"{live}/v1/tasks").status_code == 401


def test_the_client_lists_tasks_and_reads_their_errors(live: str, other: str) -> None:
    with Client(live, other) as client:
        task = client.submit(MODEL, b"no scan")
        with pytest.raises(UnsupportedMedia):
            client.wait(MODEL, task.id)
        (failed,) = client.tasks(state="failed", limit=1).tasks
        assert failed.id == task.id
        assert isinstance(failed.error, UnsupportedMedia)
        found = client.predict(MODEL, make_scan(1))
        assert client.delete_prediction(found.id).answer


def test_a_caller_may_wait_for_the_end_of_a_task(live: str, other: str) -> None:
    waits = {**bearer(other), "Prefer": "respond-async, wait=30"}
    over = httpx.post(f"{live}{TASKS}", content=make_scan(1), headers=waits, timeout=60)
    assert (over.status_code, over.json()["state"]) == (200, "done"), over.text
    assert over.headers["preference-applied"] == "wait=30"
    assert over.headers["location"] == over.json()["url"]
    assert "retry-after" not in over.headers
    assert httpx.get(f"{live}{over.json()['result_url']}", headers=bearer(other)).status_code == 200
    with Client(live, other) as client:
        assert client.task(MODEL, client.submit(MODEL, make_scan(1)).id, wait_s=30).state == "done"


@pytest.mark.parametrize("prefer", ["wait=x", "respond-async", "wait=0", "waiting=10"])
def test_other_preferences_are_not_waited_for(live: str, other: str, prefer: str) -> None:
    answer = httpx.post(f"{live}{TASKS}", content=make_scan(1), headers={**bearer(other), "Prefer": prefer})
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, None)


def test_a_repeated_submission_is_one_task(live: str, other: str) -> None:
    headers = {**bearer(other), "Idempotency-Key": "the-one", "Content-Type": "application/gzip"}
    first, again = (httpx.post(f"{live}{TASKS}", content=make_scan(1), headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    waited = httpx.post(f"{live}{TASKS}", content=make_scan(1), headers={**headers, "Prefer": "wait=30"}, timeout=60)
    assert (waited.json()["id"], waited.json()["state"]) == (first.json()["id"], "done")


def test_a_deleted_prediction_is_in_no_kept_answer(live: str, other: str) -> None:
    headers = {**bearer(other), "Idempotency-Key": "to-be-deleted", "Content-Type": "application/gzip"}
    address = f"{live}/v1/models/{MODEL}/predict"
    first = httpx.post(address, content=make_scan(1), headers=headers)
    with Client(live, other) as client:
        client.delete_prediction(first.json()["id"])
    anew = httpx.post(address, content=make_scan(1), headers=headers)
    assert anew.json()["id"] != first.json()["id"]


def test_the_results_of_several_files_have_their_names(live: str, other: str) -> None:
    files = [("file", ("one.nii.gz", make_scan(1))), ("file", ("two.nii.gz", b"no scan"))]
    task = httpx.post(f"{live}{TASKS}", files=files, headers={**bearer(other), "Prefer": "wait=30"}, timeout=60).json()
    results = httpx.get(f"{live}{task['result_url']}", headers=bearer(other)).json()["results"]
    assert [one["file"] for one in results] == ["one.nii.gz", "two.nii.gz"]
