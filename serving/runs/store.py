"""Runs in the database. Every change of state is one conditional update, so two processes never both go on with one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet

from registry.contract import catalog
from registry.core.errors import NotFound, Overloaded, Refused, VisionloopError
from registry.core.files import require_free_space
from registry.core.settings import settings
from serving.accounts.models import User
from serving.runs import files
from serving.runs.kinds import Found
from serving.runs.models import ENDED, Extra, Run, State, now

LEASE_S = 30.0
MOST_UNFINISHED = 64
"""Runs of one person that may be uploading, waiting or running."""
FREE_MB = 1024
"""What an upload must leave free on the disk: the database and others write there, too."""
ABANDONED = timedelta(days=1)
"""An upload that did not go on for so long is removed."""
NAME_LENGTH = 255


def begin(owner: User, model: str, name: str, size: int, found: Found, start: str, **more: Any) -> Run:
    """A new run that waits for its upload, or the interrupted one of the same file, to go on with it.

    Raises:
        NotFound: no such model.
        Overloaded: the person has too many runs that are not over.
        StorageError: the disk is nearly full.
    """
    catalog.get(model)
    fields = {"owner": owner, "model": model, "size": size, "start": start}
    again = Run.objects.filter(**fields, state=State.UPLOADING, name=clean(name), **more).first()
    if again is not None:
        return again
    if Run.objects.filter(owner=owner).exclude(state__in=ENDED).count() >= MOST_UNFINISHED:
        raise Overloaded(
            f"{MOST_UNFINISHED} of your files are not done yet",
            expected="fewer at once",
            fix="wait until some are done, or cancel them in your history",
            retry_after_s=30,
        )
    require_free_space(files.root(), FREE_MB + size // 10**6)
    return Run.objects.create(**fields, **more, name=clean(name), kind=found.kind, media=found.media)


def clean(name: str) -> str:
    """A file's name as a text for people: without folders and what cannot be printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(one for one in last if one.isprintable()).strip()[-NAME_LENGTH:] or "file"


def visible(run_id: str, user: Any) -> Run:
    """A run that a person may see: their own, and examples, where the gallery is open or the person logged in. Others
    answer as unknown ones do. Raises NotFound."""
    known = user is not None and user.is_authenticated
    seen = Q(pk__in=[])
    if known or settings().gallery_open:
        seen |= Q(owner=None, state=State.DONE)
    if known:
        seen |= Q(owner=user)
    run = Run.objects.filter(seen, id=run_id).first()
    if run is None:
        raise unknown()
    return run


def own(run_id: str, user: Any) -> Run:
    """A run of the person. Raises NotFound."""
    run = Run.objects.filter(id=run_id, owner=user).first() if user.is_authenticated else None
    if run is None:
        raise unknown()
    return run


def unknown() -> NotFound:
    return NotFound(
        "there is no such result", expected="the address of one of yours", fix="log in, and open it from your history"
    )


def received(run_id: str, count: int) -> None:
    """Notes how many bytes of an upload are safe."""
    Run.objects.filter(id=run_id, state=State.UPLOADING).update(received=count)


def uploaded(run_id: str) -> None:
    """The upload is complete: the run waits for a prediction."""
    Run.objects.filter(id=run_id, state=State.UPLOADING).update(
        state=State.WAITING, received=F("size"), queued=now(), not_before=None
    )


def claim(worker: str, most: int) -> list[Run]:
    """Takes up to `most` runs that should go on now, the longest waiting first, and leases them to `worker`."""
    moment = now()
    due = Q(not_before=None) | Q(not_before__lte=moment)
    free = Q(worker="") | Q(lease__lt=moment)
    todo = Q(state__in=(State.WAITING, State.RUNNING)) | Q(state=State.DONE, heatmap=Extra.WAITING)
    todo |= Q(state=State.CANCELLED) & ~Q(task_id="")
    taken = []
    for run in Run.objects.filter(todo, due, free).order_by("not_before", "queued")[:most]:
        unchanged = Run.objects.filter(id=run.id, state=run.state, worker=run.worker, lease=run.lease)
        if unchanged.update(worker=worker, lease=moment + timedelta(seconds=LEASE_S)):
            taken.append(Run.objects.get(id=run.id))
    return taken


def renew(worker: str, run_ids: list[str]) -> None:
    _owned(worker).filter(id__in=run_ids).update(lease=now() + timedelta(seconds=LEASE_S))


def write(run: Run, **fields: Any) -> bool:
    """Changes a run, unless it was cancelled, deleted or taken over meanwhile. Returns whether it was changed."""
    changed = _owned(run.worker).filter(id=run.id, state=run.state).update(**fields)
    for name, value in fields.items():
        setattr(run, name, value)
    return bool(changed)


def let_go(run: Run, after_s: float = 0.0, **fields: Any) -> bool:
    """Gives the run back, to go on after some seconds."""
    return write(run, worker="", lease=None, not_before=now() + timedelta(seconds=after_s), **fields)


def begin_anew(run: Run) -> bool:
    """Gives back a run whose task is gone: the next try submits another. `queued` makes it another call."""
    return let_go(run, state=State.WAITING, task_id="", queued=now())


def finish(run: Run, **fields: Any) -> bool:
    return write(run, worker="", lease=None, not_before=None, state=State.DONE, finished=now(), **fields)


def fail(run: Run, error: VisionloopError | Mapping[str, Any], **fields: Any) -> bool:
    told = error.to_json() if isinstance(error, VisionloopError) else dict(error)
    return write(run, worker="", lease=None, not_before=None, state=State.FAILED, finished=now(), error=told, **fields)


def refuse(run_id: str, error: VisionloopError) -> None:
    """An upload that cannot be used ends here."""
    Run.objects.filter(id=run_id, state=State.UPLOADING).update(
        state=State.FAILED, finished=now(), error=error.to_json()
    )
    files.remove(run_id)


def release_all(worker: str) -> None:
    """A process that ends gives its runs back, so that the next one need not wait for the leases."""
    _owned(worker).update(worker="", lease=None)


def cancel(run: Run) -> None:
    """Cancels a run that is not over. A running one is left by its worker."""
    Run.objects.filter(id=run.id).exclude(state__in=ENDED).update(
        state=State.CANCELLED, finished=now(), not_before=None, worker="", lease=None
    )


def retry(run: Run) -> None:
    """Begins a failed or cancelled run anew. Raises Refused where its upload is not complete."""
    if not run.received == run.size or not files.path(run.id, files.INPUT).is_file():
        raise Refused(
            "the file did not arrive completely",
            expected="a whole file",
            fix="choose the file again on the model's page",
        )
    Run.objects.filter(id=run.id, state__in=(State.FAILED, State.CANCELLED)).update(
        state=State.WAITING, queued=now(), not_before=None, finished=None, error=None, task_id="", tries=0, done=0,
        worker="", lease=None,
    )  # fmt: skip


def repeat(run: Run, version: int | None = None) -> Run:
    """A new run of the same file, on another version or on the live one. Raises as `begin`, and FileNotFoundError."""
    require_free_space(files.root(), FREE_MB + run.size // 10**6)
    fields = ("owner", "model", "name", "size", "kind", "media", "start", "options")
    copied = Run(**{name: getattr(run, name) for name in fields}, wanted=version, again=run.id, received=run.size)
    files.copy(run.id, copied.id, files.INPUT)
    copied.state, copied.queued = State.WAITING, now()
    copied.save(force_insert=True)
    return copied


def ask_heatmap(run: Run) -> None:
    Run.objects.filter(id=run.id, state=State.DONE).exclude(heatmap__in=(Extra.WAITING, Extra.DONE)).update(
        heatmap=Extra.WAITING, not_before=None, queued=now(), tries=0
    )


def delete(run: Run) -> None:
    """Deletes a run with its files. What the services keep of the prediction goes by the platform's own retention."""
    Run.objects.filter(id=run.id).delete()
    files.remove(run.id)


def prune(moment: datetime | None = None) -> int:
    """Deletes runs after `retention_days`, uploads that were given up, and folders without a run. Returns how many
    runs."""
    moment = moment or now()
    old = Q(finished__lt=moment - timedelta(days=settings().retention_days), owner__isnull=False)
    old |= Q(state=State.UPLOADING, created__lt=moment - ABANDONED)
    gone = list(Run.objects.filter(old))
    for run in gone:
        delete(run)
    known = set(Run.objects.values_list("id", flat=True))
    for path in files.root().glob("?" * 32):
        if path.name not in known and path.stat().st_mtime < (moment - ABANDONED).timestamp():
            files.remove(path.name)
    return len(gone)


def _owned(worker: str) -> QuerySet[Run]:
    return Run.objects.filter(worker=worker)
