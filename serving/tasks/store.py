"""Tasks on disk and in the database. Every change of state is one conditional update, so that two services of a model,
or one that comes back from the dead, never both hold a task."""

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
from registry.core.errors import NotFound, Overloaded, Refused, StorageError, VisionloopError
from registry.core.files import disk_errors, write_file
from registry.core.settings import settings
from serving.wire.call import prediction_id_of
from serving.wire.negotiation import ResponseFormat

if TYPE_CHECKING:
    from serving.tasks.models import Task

LEASE_S = 10.0
MAX_ATTEMPTS = 3
MAX_UNFINISHED, RETRY_S = 256, 10
"""Tasks of a model that may wait or be worked on; who brings another one comes back after so many seconds."""
GIB = 1 << 30
MIN_FREE_BYTES = GIB
"""Bytes that inputs leave free on the disk: others write there, too, often the database."""
CALLER_LENGTH = 128
CLOCK_STEP_NS = 2_000_000_000
"""Times of files are no coarser than this, on any file system."""
_ID = re.compile("[0-9a-f]{32}")
FINISHED = ("done", "failed", "cancelled")


def task_folder(identity: str) -> Path:
    return settings().var / "tasks" / identity


def result_file(identity: str, owner: str) -> Path:
    """One that lost its task while it slept must not write over the result of the one that took over."""
    return task_folder(identity) / f"result-{owner}"


class TaskFolderWatch:
    """Whether there may be tasks to work on, told from files: a service without any needs no database, whose layer
    takes longer to load than a small network."""

    def __init__(self) -> None:
        self._seen: int | None = None

    def __call__(self) -> bool:
        """True when inputs have come since the first call, or at the first one where some are left."""
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


def submit(
    model: str, version: int, wants: ResponseFormat, caller: str, role: str, bodies: Sequence[bytes], several: bool
) -> Task:
    """Keeps the inputs, then the task; if that fails, neither. Raises as `check_room`."""
    check_room(model, sum(map(len, bodies)))
    from serving.tasks.models import Task

    identity = uuid.uuid4().hex
    try:
        with disk_errors(task_folder(identity)):
            for n, body in enumerate(bodies):
                write_file(task_folder(identity) / f"input-{n}", body)
        return Task.objects.create(
            id=identity,
            model=model,
            version=version,
            caller=caller[:CALLER_LENGTH],
            role=role,
            wants=asdict(wants),
            inputs=len(bodies),
            several=several,
            state="queued",
            total=len(bodies),
            created=_now(),
        )
    except BaseException:
        shutil.rmtree(task_folder(identity), ignore_errors=True)
        raise


def check_room(model: str, size: int = 0) -> None:
    """Whether another task may come, with inputs of `size` bytes.

    Raises:
        Overloaded: `MAX_UNFINISHED` tasks of the model are not over yet.
        StorageError: less than `MIN_FREE_BYTES` would be left on the disk.
    """
    database.setup()
    from serving.tasks.models import Task

    if Task.objects.filter(model=model).exclude(state__in=FINISHED).count() >= MAX_UNFINISHED:
        raise Overloaded(
            f"{MAX_UNFINISHED} tasks of {model} wait already",
            expected="fewer tasks at once",
            fix="try again after Retry-After seconds, or cancel some",
            retry_after_s=RETRY_S,
        )
    var = settings().var
    with disk_errors(var):
        var.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(var).free - size
    if free < MIN_FREE_BYTES:
        raise StorageError(
            f"with this task {max(free, 0) / GIB:.1f} GiB would be free under {var}",
            expected=f"{MIN_FREE_BYTES / GIB:g} GiB or more",
            fix="free some space, or lower retention_days: results of tasks are kept as long",
        )


def find(model: str, identity: str, caller: str | None = None) -> Task:
    """A task; with `caller`, one that it submitted. Raises NotFound, of a foreign task as of an unknown one."""
    database.setup()
    from serving.tasks.models import Task

    own = {} if caller is None else {"caller": caller[:CALLER_LENGTH]}
    # What is no id is not looked up: PostgreSQL refuses to be asked for a text with a NUL in it.
    task = Task.objects.filter(model=model, id=identity, **own).first() if _ID.fullmatch(identity) else None
    if task is None:
        raise NotFound(
            f"there is no task {identity[:40]!r} of {model}",
            expected="an id that POST tasks answered to this caller",
            fix="finished tasks are kept for retention_days; submit it again",
        )
    return task


def claim(model: str, version: int, owner: str) -> Task | None:
    """The oldest task that nobody works on, now the `owner`'s for `LEASE_S`; None if there is none.

    It is one of this version's, or of a version that has no service any more: a canary, or an old version that is kept
    warm, must not answer what the champion was asked.
    One that was begun `MAX_ATTEMPTS` times and never finished fails: it would take down the next service, too.
    """
    database.setup()
    from django.db.models import Q

    from serving.releases.models import Endpoint
    from serving.tasks.models import Task

    now = _now()
    free = Q(state="queued") | Q(state="running", lease__lt=now)
    served = Endpoint.objects.filter(model=model, retired=None).values("version")
    ours = Q(version=version) | ~Q(version__in=served)
    for task in Task.objects.filter(free, ours, model=model).order_by("created")[:8]:
        same = Task.objects.filter(id=task.id, state=task.state, owner=task.owner, lease=task.lease)
        if task.attempts >= MAX_ATTEMPTS:
            told = {
                "error": "InternalError",
                "found": f"the service ended {MAX_ATTEMPTS} times while it worked on this",
            }
            if same.update(state="failed", finished=now, error={**told, "status": 500}):
                _drop_inputs(task.id)
            continue
        lease = now + timedelta(seconds=LEASE_S)
        if same.update(state="running", owner=owner, lease=lease, attempts=task.attempts + 1, begun=now, done=0):
            return find(model, task.id)
    return None


def renew_lease(identity: str, owner: str, done: int, total: int) -> bool:
    """Prolongs the lease and notes the progress; False if the task was cancelled, or another owner has it."""
    from serving.tasks.models import Task

    mine = Task.objects.filter(id=identity, owner=owner, state="running")
    return bool(mine.update(lease=_now() + timedelta(seconds=LEASE_S), done=done, total=total))


def finish(identity: str, owner: str, result: bytes, media: str, headers: dict[str, str]) -> bool:
    """Keeps the result; False, and nothing changes, if the task is the owner's no more."""
    from django.db.models import F

    from serving.tasks.models import Task

    mine = Task.objects.filter(id=identity, owner=owner, state="running")
    if not mine.exists():
        _drop_inputs_of_ended(identity)
        return False
    with disk_errors(task_folder(identity)):
        write_file(result_file(identity, owner), result)
    changes = {"state": "done", "media": media, "headers": headers, "finished": _now(), "done": F("total")}
    done = bool(mine.update(**changes))
    if not done:
        result_file(identity, owner).unlink(missing_ok=True)
    _drop_inputs_of_ended(identity)
    return done


def fail(identity: str, owner: str, error: dict[str, Any]) -> None:
    from serving.tasks.models import Task

    Task.objects.filter(id=identity, owner=owner, state="running").update(state="failed", finished=_now(), error=error)
    _drop_inputs_of_ended(identity)


def cancel(model: str, identity: str, caller: str | None = None) -> Task:
    """Ends a task that is not over; of one that is, only inputs go that a killed service left. Raises NotFound as
    `find`."""
    from django.db.models import Q

    from serving.tasks.models import Task

    find(model, identity, caller)
    mine, end = Task.objects.filter(id=identity), {"state": "cancelled", "finished": _now()}
    mine.exclude(state__in=FINISHED).update(**end)
    if mine.filter(Q(lease=None) | Q(lease__lt=_now()), state__in=FINISHED).exists():
        _drop_inputs(identity)  # else whoever reads them does it
    return find(model, identity)


def remove(model: str, identity: str, caller: str | None = None) -> Task:
    """Removes a task that is over, with its files; returns it as it was.

    Raises:
        NotFound: as `find`.
        Refused: it is not over.
    """
    task = find(model, identity, caller)
    if task.state not in FINISHED:
        raise Refused(
            f"the task is {task.state}", expected="a task that is over", fix="cancel it first: DELETE without ?purge="
        )
    _remove(task)
    task.id = identity  # which Django takes away
    return task


def give_back(identity: str, owner: str) -> None:
    """What the owner does not go on with is anyone's at once, and as if it had not begun; the inputs of what was
    cancelled meanwhile are removed: nobody else does it."""
    from django.db.models import F

    from serving.tasks.models import Task

    mine = Task.objects.filter(id=identity, owner=owner, state="running")
    again = {"state": "queued", "owner": "", "lease": None, "begun": None, "done": 0, "attempts": F("attempts") - 1}
    if not mine.update(**again):
        _drop_inputs_of_ended(identity)


def prune() -> None:
    """Removes what was finished longer ago than inputs are kept, and what is as old and belongs to no task: a service
    that is killed while it takes one leaves it."""
    from serving.tasks.models import Task

    old = _now() - timedelta(days=settings().retention_days)
    for task in Task.objects.filter(state__in=FINISHED, finished__lt=old):
        _remove(task)
    # A service that was killed just after it had ended a task left its inputs. Who ends one now has a moment.
    left = {one.parent.name for one in task_folder("").glob("*/input-*")}
    ended = Task.objects.filter(id__in=left, state__in=FINISHED, finished__lt=_now() - timedelta(seconds=6 * LEASE_S))
    for identity in ended.values_list("id", flat=True) if left else ():
        _drop_inputs(identity)
    aged = {one.name for one in task_folder("").glob("*") if _ID.fullmatch(one.name) and _is_aged(one, old)}
    for name in aged.difference(Task.objects.filter(id__in=aged).values_list("id", flat=True) if aged else ()):
        shutil.rmtree(task_folder(name), ignore_errors=True)


def error_json(error: Exception) -> dict[str, Any]:
    """As an answer would tell it, with its status."""
    logged = {"prediction_id": identity} if (identity := prediction_id_of(error)) else {}
    if isinstance(error, VisionloopError):
        return {**error.to_json(), "status": error.http_status, **logged}
    told = "the service failed on this task; its log says why"
    return {"error": "InternalError", "found": told, "expected": "", "fix": "submit it again", "status": 500, **logged}


def _is_aged(path: Path, than: datetime) -> bool:
    try:
        return path.stat().st_mtime < than.timestamp()
    except FileNotFoundError:  # another service looks at the same time
        return False


def _drop_inputs_of_ended(identity: str) -> None:
    """The inputs of a task that is over, whoever ended it, or that is not there any more."""
    from serving.tasks.models import Task

    if not Task.objects.filter(id=identity).exclude(state__in=FINISHED).exists():
        _drop_inputs(identity)


def _drop_inputs(identity: str) -> None:
    """Of a task that is over; the result stays for `retention_days`."""
    for path in task_folder(identity).glob("input-*"):
        path.unlink(missing_ok=True)


def _remove(task: Task) -> None:
    shutil.rmtree(task_folder(task.id), ignore_errors=True)
    task.delete()


def _now() -> datetime:
    return datetime.now(UTC)
