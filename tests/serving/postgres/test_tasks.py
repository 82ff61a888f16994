"""Tasks on PostgreSQL: several services at once, and an outage in the middle."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.contract import catalog
from serving.tasks import store
from serving.wire.negotiation import ResponseFormat
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.clips import make_clip
from tests.clusters import Cluster
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.serving.postgres.conftest import stopped, together
from tests.waiting import until


def test_each_of_many_tasks_is_claimed_once() -> None:
    submitted = {
        store.submit("weapon_detection", 1, ResponseFormat("application/json"), "me", "live", [b"x"], False).id
        for _ in range(40)
    }
    claimed: list[str] = []

    def claim() -> None:
        from django.db import connection

        owner, misses = os.urandom(16).hex(), 0
        while misses < 20:  # none for it: the eight oldest were all taken under its hands
            task = store.claim("weapon_detection", 1, owner)
            misses = misses + 1 if task is None else 0
            if task is not None:
                claimed.append(task.id)
                assert store.renew_lease(task.id, owner, 0, 1)
        connection.close()

    together(claim, 4)
    assert sorted(claimed) == sorted(submitted)


def test_two_services_share_tasks_and_an_outage_loses_none_of_them(postgres: Cluster, tmp_path: Path) -> None:
    spec, bundle = catalog.get(MODEL), make_tiny_bundle(tmp_path / "tiny", work=20)
    with answering(spec, bundle.path) as (one, _), answering(spec, bundle.path) as (other, _), httpx.Client() as client:
        ids = [
            client.post(f"{place}/tasks", content=make_scan(1), timeout=30).json()["id"]
            for _ in range(6)
            for place in (one, other)
        ]
        with stopped(postgres, "immediate"):
            away = client.get(f"{one}/tasks/{ids[0]}", timeout=30)
            assert (away.status_code, away.headers.get("retry-after")) == (503, "1")
            time.sleep(1)
        tasks = until(lambda: over(client, other, ids), 90)
        assert {task["state"] for task in tasks} == {"done"}
        # Claimed once each; the crash may have hidden from each of the two that it had one.
        assert sum(task["attempts"] for task in tasks) <= len(tasks) + 2
        assert client.get(f"{one}/tasks/{ids[0]}/result").json()["shape"] == [64, 48, 2]


def over(client: httpx.Client, place: str, ids: list[str]) -> list[dict[str, Any]] | None:
    """The tasks, once they are all over."""
    found = [client.get(f"{place}/tasks/{identity}").json() for identity in ids]
    return found if all(task["state"] in store.FINISHED for task in found) else None


def test_a_task_goes_on_over_an_outage_and_may_end_in_one(
    postgres: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, frames = catalog.get("object_detection"), 200
    bundle = make_detector_bundle(tmp_path / "bundle", spec, work=20)
    with answering(spec, bundle.path) as (place, _), httpx.Client(timeout=60) as client:
        identity = client.post(f"{place}/tasks", content=make_clip(frames, (192, 128))).json()["id"]

        def done() -> int:
            return int(
                client.get(f"{place}/tasks/{identity}").json().get("done", 0)
            )  # 503 while a pooler still refuses

        before = until(done)
        postgres.restart("immediate")
        assert until(lambda: max(done() - before, 0)) < frames - before  # its progress is written down again
        with stopped(postgres, "fast"):
            until(lambda: "the end of a task waits" in caplog.text, 120)  # 200 frames on a busy machine
        (task,) = until(lambda: over(client, place, [identity]))
        assert (task["state"], task["attempts"]) == ("done", 1)
        assert client.get(f"{place}/tasks/{identity}/result").json()["frames"] == frames
