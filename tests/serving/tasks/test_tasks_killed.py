"""A service that is killed inside a DELETE of a task: a second DELETE, or the keeper, finishes it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import NotFound
from registry.core.settings import settings
from serving.tasks import store, task_files
from serving.wire.negotiation import ResponseFormat
from tests.serving.conftest import PROJECT

MODEL = "object_detection"
DELETES = """
import json, os, signal, sys
from registry.core import database
from serving.tasks import store

database.setup()
from django.db import connection

what, model, tasks = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
left = -1

def step():
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

def sql(execute, statement, values, many, context):
    step()
    found = execute(statement, values, many, context)
    if not statement.startswith("SELECT"):
        step()
    return found

def changes(event, args):
    if event in ("os.remove", "os.rmdir"):
        step()

sys.addaudithook(changes)
codes = []
for point, task in enumerate(tasks):
    child = os.fork()
    if child == 0:
        left = point
        with connection.execute_wrapper(sql):
            getattr(store, what)(model, task)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
"""The n-th of these processes dies before, or behind, its n-th change of a file or statement of SQL."""
POINTS = 16


def submitted() -> str:
    """A task with two inputs, in the queue."""
    wants = ResponseFormat("application/json")
    return str(store.submit(MODEL, 1, wants, "me", "live", [b"one", b"two"], True).id)


def done() -> str:
    """One that is over, with a result; of its inputs one was left by a crash."""
    identity = submitted()
    task = store.claim(MODEL, 1, "worker")
    assert task is not None
    assert store.finish(identity, "worker", b"result", "application/json", {})
    (task_files.task_folder(identity) / "input-0").write_bytes(b"left")
    return identity


def killed(what: str, tasks: list[str]) -> list[str]:
    """The tasks whose DELETE was killed, by the point at which it was; the last points lie behind its end."""
    from django.db import connections

    connections.close_all()
    argv = [sys.executable, "-c", DELETES, what, MODEL, json.dumps(tasks)]
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    out = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert out.returncode == 0, out.stderr
    codes = json.loads(out.stdout)
    points = codes.index(0)
    assert points < POINTS, "there are more points than tasks"
    assert codes == [-9] * points + [0] * (POINTS - points)
    return tasks[:points]


def row(identity: str) -> Any:
    from serving.tasks.models import Task

    return Task.objects.filter(id=identity).first()


def files(identity: str) -> list[str]:
    return sorted(path.name for path in task_files.task_folder(identity).glob("*"))


def test_a_removal_that_was_killed_is_finished_by_a_second_delete(home: Path) -> None:
    half = killed("remove", [done() for _ in range(POINTS)])
    seen = {(row(one) is not None, task_files.task_folder(one).is_dir(), len(files(one))) for one in half}
    # Whole, one file less, an empty folder, a row without its folder, nothing: never a folder without its row.
    assert {(True, True, 2), (True, True, 1), (True, True, 0), (True, False, 0), (False, False, 0)} == seen
    for one in half:
        try:
            assert store.remove(MODEL, one).id == one
        except NotFound:
            assert not task_files.task_folder(one).exists()
        assert row(one) is None
        assert not task_files.task_folder(one).exists()


def test_a_removal_that_was_killed_is_finished_by_the_keeper(home: Path) -> None:
    from serving.tasks.models import Task

    half = killed("remove", [done() for _ in range(POINTS)])
    store.prune()
    assert {row(one) is not None for one in half} == {True, False}, "what is left is not old enough"
    Task.objects.update(finished=datetime.now(UTC) - timedelta(days=settings().retention_days + 1))
    store.prune()
    for one in half:
        assert row(one) is None
        assert not task_files.task_folder(one).exists()


@pytest.mark.parametrize("by", ["a second DELETE", "the keeper"])
def test_a_cancellation_that_was_killed_is_finished(home: Path, by: str) -> None:
    from serving.tasks.models import Task

    half = killed("cancel", [submitted() for _ in range(POINTS)])
    left = [one for one in half if row(one).state == "cancelled" and files(one)]
    assert left, "killed between the row and the inputs"
    for one in half:
        if by == "a second DELETE" or row(one).state == "queued":
            assert store.cancel(MODEL, one).state == "cancelled"
    if by == "the keeper":
        Task.objects.update(finished=datetime.now(UTC) - timedelta(seconds=7 * store.LEASE_S))
        store.prune()
    assert [files(one) for one in half] == [[]] * len(half)
    assert {row(one).state for one in half} == {"cancelled"}
