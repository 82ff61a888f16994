"""Tasks in the database and on the disk: who gets one, who keeps it, what is left of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import EncryptionError
from registry.core.settings import settings
from registry.encryption import files
from serving.releases import endpoints
from serving.tasks import store, task_files
from serving.wire.negotiation import ResponseFormat
from tests.serving.removal import retire
from tests.serving.tasks.asking import MODEL, PICTURE, names


def submitted(version: int = 1) -> Any:
    return store.submit(MODEL, version, ResponseFormat("application/json"), "me", "live", [b"x"], False)


def test_what_belongs_to_no_task_goes_when_it_is_as_old_as_a_task_may_be(home: Path) -> None:
    kept = submitted().id
    lost, young = (task_files.task_folder(digit * 32) for digit in "ab")
    for folder in (lost, young):
        (folder / "nested").mkdir(parents=True)
    long_ago = time.time() - 86400 * settings().retention_days - 60
    for folder in (lost, task_files.task_folder(kept)):
        os.utime(folder, (long_ago, long_ago))
    store.prune()
    assert [folder.exists() for folder in (lost, young, task_files.task_folder(kept))] == [False, True, True]


@pytest.mark.parametrize("end", ["finish", "fail", "leave", "prune", "cancel"])
def test_whoever_ends_a_cancelled_task_its_inputs_go(home: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    if end in ("prune", "cancel"):  # its service is dead
        monkeypatch.setattr(store, "LEASE_S", -1.0)
    task = submitted()
    assert store.claim(MODEL, 1, "one")
    cancelled = store.cancel(MODEL, task.id)
    assert cancelled.state == "cancelled"
    assert names(task.id) == ([] if end == "cancel" else ["input-0"]) or end == "prune"
    if end == "finish":
        assert not store.finish(task.id, "one", b"x", "text/plain", {})
    elif end == "fail":
        store.fail(task.id, "one", {})
    elif end == "leave":
        store.give_back(task.id, "one")
    elif end == "prune":
        left = task_files.input_file(task.id, 0)  # by a service that was killed before it could remove it
        left.write_bytes(PICTURE)
        store.prune()
    assert names(task.id) == []
    assert store.find(MODEL, task.id).state == "cancelled"


def test_one_of_two_services_gets_a_task_and_keeps_it_while_it_lives(home: Path) -> None:
    task = submitted()
    claimed = [store.claim(MODEL, 1, owner) for owner in ("first", "second")]
    assert [one and one.id for one in claimed] == [task.id, None]
    assert store.renew_lease(task.id, "first", 0, 1)
    assert not store.renew_lease(task.id, "second", 0, 1)
    assert not store.finish(task.id, "second", b"x", "text/plain", {})
    assert store.finish(task.id, "first", b"x", "text/plain", {})
    result = task_files.result_file(task.id, "first")
    assert task_files.read(result) == b"x"
    assert files.is_encrypted_file(result)


def test_another_version_works_on_a_task_only_when_its_own_has_no_service(home: Path) -> None:
    endpoints.announce(MODEL, 7, "http://127.0.0.1:1", "none")
    task = submitted(7)
    assert store.claim(MODEL, 8, "other") is None
    retire(MODEL, 7)
    claimed = store.claim(MODEL, 8, "other")
    assert claimed is not None
    assert claimed.id == task.id


def test_a_task_that_kills_its_service_is_given_up_at_last(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LEASE_S", -1.0)
    task = submitted()
    owners = [store.claim(MODEL, 1, str(n)) is not None for n in range(store.MAX_ATTEMPTS + 1)]
    assert owners == [True] * store.MAX_ATTEMPTS + [False]
    assert names(task.id) == [], "the inputs of a task that is given up are not kept"
    found = store.find(MODEL, task.id)
    assert (found.state, found.error["status"]) == ("failed", 500)


def test_inputs_are_encrypted_and_no_other_tasks(home: Path) -> None:
    mine, other = (task_files.input_file(submitted().id, 0) for _ in range(2))
    assert files.is_encrypted_file(mine)
    assert task_files.read(mine) == b"x"
    other.replace(mine)
    with pytest.raises(EncryptionError):
        task_files.read(mine)
    mine.write_bytes(b"in the clear, of a version before encryption")
    assert task_files.read(mine).startswith(b"in the clear")
