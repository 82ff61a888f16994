"""Tasks on disk, encrypted, and in the database. Every change of state is one conditional update, so that two services
of a model never both hold a task, even when one was suspended and comes back."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.core.errors import NotFound, Overloaded, Refused, StorageError
from registry.core.files import disk_errors
from registry.core.settings import settings
from serving.tasks.task_files import findings_file, input_file, result_file, task_folder, write
from serving.wire.negotiation import ResponseFormat

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.tasks.models import Task

LEASE_S = 10.0
MAX_ATTEMPTS = 3
MAX_UNFINISHED, RETRY_S = 256, 10
"""Tasks of a model that may wait or be worked on; the seconds after which a refused caller should try again."""
GIB = MIN_FREE_BYTES = 1 << 30
"""Bytes that inputs must leave free on the disk: others write there too, often the database."""
CALLER_LENGTH = 128
CLOCK_STEP_NS = 2_000_000_000
"""The largest step in the file times of any file system."""
_ID = re.compile("[0-9a-f]{32}")
FINISHED = ("done", "failed", "cancelled")


class TaskFolderWatch:
    """Tells from files whether there may be tasks. A service without tasks then never loads Django, which takes longer
    than loading a small network."""

    def __init__(self) -> None:
        self._seen: int | None = None

    def __call__(self) -> bool:
        """True when inputs came since the first call; at the first call, when some inputs have no result."""
        root = task_folder("")
        try:
            changed = root.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if self._seen is not None:
            return changed != self._seen
        self._seen = changed
        if time.time_ns() - changed < CLOCK_STEP_NS:  # the next change might get the same time
            return True
        return changed > 0 and any(next(one.glob("result-*"), None) is None for one in root.iterdir())


def _tasks() -> QuerySet[Task]:
    database.setup()
    from serving.tasks.models import Task

    return Task.objects.all()


def _owned(task_id: str, owner: str) -> QuerySet[Task]:
    """The task, if it is being worked on by this owner."""
    return _tasks().filter(id=task_id, owner=owner, state="running")


def submit(
    model: str,
    version: int,
    wants: ResponseFormat,
    caller: str,
    role: str,
    bodies: Sequence[bytes],
    several: bool,
    names: Sequence[str] = (),
) -> Task:
    """Stores the inputs, then the task; if that fails, neither stays. Raises as `check_room`."""
    check_room(model, sum(map(len, bodies)))
    task_id = uuid.uuid4().hex
    try:
        for n, body in enumerate(bodies):
            write(input_file(task_id, n), body)
        return _tasks().create(
            id=task_id,
            model=model,
            version=version,
            caller=caller[:CALLER_LENGTH],
            role=role,
            wants=asdict(wants),
            inputs=len(bodies),
            several=several,
            names=list(names),
            state="queued",
            total=len(bodies),
            created=_now(),
        )
    except BaseException:
        shutil.rmtree(task_folder(task_id), ignore_errors=True)
        raise


def check_room(model: str, size: int = 0) -> None:
    """Checks that there is room for another task, with inputs of `size` bytes.

    Raises:
        Overloaded: the model has `MAX_UNFINISHED` tasks that are not over.
        StorageError: less than `MIN_FREE_BYTES` would be left on the disk.
    """
    if _tasks().filter(model=model).exclude(state__in=FINISHED).count() >= MAX_UNFINISHED:
        raise Overloaded(
            f"{MAX_UNFINISHED} tasks of {model} are not over yet",
            expected="fewer tasks at once",
            fix="try again after Retry-After seconds, or cancel some",
            retry_after_s=RETRY_S,
        )
    var = settings().var
    with disk_errors(var):
        var.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(var).free - size
    if free < MIN_FREE_BYTES:
        raise StorageError(  # for the log: callers get other words, see `serving.wire.responses`
            f"with this task {max(free, 0) / GIB:.1f} GiB would be free under {var}",
            expected=f"{MIN_FREE_BYTES / GIB:g} GiB or more",
            fix="free some space, or lower retention_days: results of tasks are kept as long",
        )


def find(model: str, task_id: str, caller: str | None = None) -> Task:
    """A task. With `caller`, only one that it submitted: a foreign task raises NotFound, as an unknown one does."""
    own = {} if caller is None else {"caller": caller[:CALLER_LENGTH]}
    # Only an id is looked up: PostgreSQL refuses a text with a NUL in it.
    task = _tasks().filter(model=model, id=task_id, **own).first() if _ID.fullmatch(task_id) else None
    if task is None:
        raise NotFound(
            f"there is no task {task_id[:40]!r} of {model}",
            expected="an id that POST tasks answered to this caller",
            fix="a finished task is kept for some days; submit it again",
        )
    return task


def claim(model: str, version: int, owner: str) -> Task | None:
    """Takes the oldest task that nobody works on, and leases it to `owner` for `LEASE_S`. None if there is no task.

    The task was submitted to this version, or to one that has no service any more: a canary, or an old version that is
    kept warm, must not answer what another live version was asked.
    A task that was begun `MAX_ATTEMPTS` times without an end fails: it would end the next service, too.
    """
    database.setup()
    tasks, now = _tasks(), _now()
    from django.db.models import Q

    from serving.releases.models import Endpoint

    free = Q(state="queued") | Q(state="running", lease__lt=now)
    ours = Q(version=version) | ~Q(version__in=Endpoint.objects.filter(model=model, retired=None).values("version"))
    for task in tasks.filter(free, ours, model=model).order_by("created")[:8]:
        unchanged = tasks.filter(id=task.id, state=task.state, owner=task.owner, lease=task.lease)
        if task.attempts >= MAX_ATTEMPTS:
            found = f"the service ended {MAX_ATTEMPTS} times while it worked on this"
            error = {"error": "InternalError", "found": found, "status": 500}
            if unchanged.update(state="failed", finished=now, error=error):
                _drop_inputs(task.id)
            continue
        lease = now + timedelta(seconds=LEASE_S)
        if unchanged.update(state="running", owner=owner, lease=lease, attempts=task.attempts + 1, begun=now, done=0):
            return find(model, task.id)
    return None


def renew_lease(task_id: str, owner: str, done: int, total: int) -> bool:
    """Renews the lease and notes the progress. False if the task was cancelled, or has another owner."""
    return bool(_owned(task_id, owner).update(lease=_now() + timedelta(seconds=LEASE_S), done=done, total=total))


def finish(
    task_id: str, owner: str, result: bytes, media: str, headers: dict[str, str], findings: bytes | None = None
) -> bool:
    """Stores the result, and its JSON answer where the result is a file. False, without a change, if the task no
    longer belongs to the owner."""
    from django.db.models import F

    mine = _owned(task_id, owner)
    if not mine.exists():
        _drop_inputs_of_ended(task_id)
        return False
    paths = {result_file(task_id, owner): result}
    if findings is not None:
        paths[findings_file(task_id, owner)] = findings
    for path, content in reversed(paths.items()):  # the result is last: it says that there is one
        write(path, content)
    done = bool(mine.update(state="done", media=media, headers=headers, finished=_now(), done=F("total")))
    if not done:
        for path in paths:
            path.unlink(missing_ok=True)
    _drop_inputs_of_ended(task_id)
    return done


def fail(task_id: str, owner: str, error: dict[str, Any]) -> None:
    """Notes the error of a task that still belongs to the owner."""
    _owned(task_id, owner).update(state="failed", finished=_now(), error=error)
    _drop_inputs_of_ended(task_id)


def cancel(model: str, task_id: str, caller: str | None = None) -> Task:
    """Cancels a task that is not over. Of one that is over, removes inputs that a killed service left. Raises
    NotFound."""
    from django.db.models import Q

    find(model, task_id, caller)
    mine = _tasks().filter(id=task_id)
    mine.exclude(state__in=FINISHED).update(state="cancelled", finished=_now())
    if mine.filter(Q(lease=None) | Q(lease__lt=_now()), state__in=FINISHED).exists():
        _drop_inputs(task_id)  # else the owner, who still reads them, does it
    return find(model, task_id)


def remove(model: str, task_id: str, caller: str | None = None) -> Task:
    """Removes a task that is over, with its files; returns it as it was.

    Raises:
        NotFound: as `find`.
        Refused: it is not over.
    """
    task = find(model, task_id, caller)
    if task.state not in FINISHED:
        raise Refused(
            f"the task is {task.state}", expected="a task that is over", fix="cancel it first: DELETE without ?purge="
        )
    _remove(task)
    task.id = task_id  # Django cleared it
    return task


def give_back(task_id: str, owner: str) -> None:
    """Returns a task to the queue at once, as if the owner had not begun it. Of a task that was cancelled meanwhile,
    removes the inputs: nobody else does."""
    from django.db.models import F

    again = {"state": "queued", "owner": "", "lease": None, "begun": None, "done": 0, "attempts": F("attempts") - 1}
    if not _owned(task_id, owner).update(**again):
        _drop_inputs_of_ended(task_id)


def prune() -> None:
    """Removes tasks that ended more than `retention_days` ago, inputs of ended tasks, and old folders without a task. A
    service that was killed leaves such inputs and folders."""
    old = _now() - timedelta(days=settings().retention_days)
    for task in _tasks().filter(state__in=FINISHED, finished__lt=old):
        _remove(task)
    # Only some time after the end: the service that ended a task may be removing its inputs now.
    left = {one.parent.name for one in task_folder("").glob("*/input-*")}
    ended = _tasks().filter(id__in=left, state__in=FINISHED, finished__lt=_now() - timedelta(seconds=6 * LEASE_S))
    for task_id in ended.values_list("id", flat=True) if left else ():
        _drop_inputs(task_id)
    aged = {one.name for one in task_folder("").glob("*") if _ID.fullmatch(one.name) and _is_aged(one, old)}
    for name in aged.difference(_tasks().filter(id__in=aged).values_list("id", flat=True) if aged else ()):
        shutil.rmtree(task_folder(name), ignore_errors=True)


def _is_aged(path: Path, than: datetime) -> bool:
    try:
        return path.stat().st_mtime < than.timestamp()
    except FileNotFoundError:  # another service prunes at the same time
        return False


def _drop_inputs_of_ended(task_id: str) -> None:
    """Removes the inputs of a task that is over, or was removed."""
    if not _tasks().filter(id=task_id).exclude(state__in=FINISHED).exists():
        _drop_inputs(task_id)


def _drop_inputs(task_id: str) -> None:
    """Removes the inputs of a task; its result stays."""
    for path in task_folder(task_id).glob("input-*"):
        path.unlink(missing_ok=True)


def _remove(task: Task) -> None:
    shutil.rmtree(task_folder(task.id), ignore_errors=True)
    task.delete()


def _now() -> datetime:
    return datetime.now(UTC)
