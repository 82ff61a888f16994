"""Deletes old reports, verdicts, predictions, journals and logs. The stack's keeper calls it.

Each has limits in the settings (docs/settings.md). `monitoring.log.inputs` prunes inputs and labels.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from monitoring.log import answers
from registry.core import journal
from registry.core.settings import settings

ROWS_AT_ONCE = 500
MAX_DELETE_S = 3.0
"""Longest time for deleting rows in one call; the next call goes on. New predictions wait on disk meanwhile."""
MIB = 2**20


class _Aged(NamedTuple):
    """A file or folder. The newest of each `group` is always kept."""

    time: float
    size: int
    path: Path
    group: str


def prune(now: float | None = None) -> None:
    """Prunes everything on disk, then rows of the database.

    Raises:
        django.db.Error: the database is away; files are pruned all the same.
    """
    when = time.time() if now is None else now
    var, limits = settings().var, settings()
    for pattern in ("reports/*/*", "evidently/*/snapshots/*.json"):
        _prune_files(_aged(var.glob(pattern), var), when - limits.report_days * 86400, limits.report_mb * MIB)
    errors = _aged((var / "logs" / "errors").glob("*.log"), var)
    _prune_files(errors, when - limits.report_days * 86400, limits.log_mb * MIB)
    _set_aside(journal.path(), limits.journal_mb * MIB)
    _set_aside(var / "spool" / "rejected.txt", limits.log_mb * MIB)
    for log in (var / "logs").glob("*.log"):
        _empty(log, limits.log_mb * MIB)
    _prune_rows(datetime.fromtimestamp(when, UTC))


def _aged(paths: Iterable[Path], root: Path) -> list[_Aged]:
    found = []
    for path in paths:
        with suppress(OSError):
            parts = [path, *path.rglob("*")] if path.is_dir() else [path]
            status = [part.stat() for part in parts]
            group = str(path.relative_to(root).parent)
            found.append(_Aged(path.stat().st_mtime, sum(one.st_size for one in status), path, group))
    return sorted(found, reverse=True)


def _prune_files(found: list[_Aged], oldest: float, room: int) -> None:
    """Keeps the newest of each group, and of the others, newest first, those that are new enough and fit."""
    seen: set[str] = set()
    used = 0
    for one in found:
        used += one.size
        if one.group in seen and (one.time < oldest or used > room):
            if one.path.is_dir():
                shutil.rmtree(one.path, ignore_errors=True)
            else:
                one.path.unlink(missing_ok=True)
        seen.add(one.group)


def _set_aside(path: Path, room: int) -> None:
    """Renames a file that is too large to `<name>.1`, over the one before. Writers open it for each line, so they begin
    a new one."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > room:
            path.replace(path.with_name(f"{path.name}.1"))


def _empty(log: Path, room: int) -> None:
    """Like `_set_aside`, for a file that a process holds open for appending: it is copied, then emptied."""
    with suppress(OSError):
        if log.stat().st_size > room:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def _prune_rows(now: datetime) -> None:
    from monitoring.log.models import Prediction, Verdict

    limits, until = settings(), time.monotonic() + MAX_DELETE_S
    newest = {row[0] for row in _latest(Verdict)}
    _delete(
        lambda: Verdict.objects.filter(time__lt=now - timedelta(days=limits.report_days)).exclude(pk__in=newest), until
    )
    aged = Prediction.objects.filter(time__lt=now - timedelta(days=limits.prediction_days)).order_by("time")
    _delete(lambda: aged.filter(feedback=None), until)
    _delete(lambda: aged.filter(feedback__time__lt=now - timedelta(days=limits.label_days)), until)
    too_many = Prediction.objects.count() - limits.prediction_rows
    _delete(lambda: Prediction.objects.filter(feedback=None).order_by("time"), until, too_many)
    answers.prune(until)


def _latest(verdicts: type) -> Iterator[Any]:
    """The keys of each model's latest verdict."""
    rows = verdicts.objects  # type: ignore[attr-defined]
    for model in rows.order_by().values_list("model", flat=True).distinct():
        yield from rows.filter(model=model).order_by("-time").values_list("pk")[:1]


def _delete(rows: Callable[[], Any], until: float, most: int | None = None) -> None:
    """Deletes rows a few hundred at a time, so that no other writer waits long."""
    left = most
    while time.monotonic() < until and (left is None or left > 0):
        keys = list(rows().values_list("pk", flat=True)[: ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)])
        if not keys:
            return
        rows().model.objects.filter(pk__in=keys).delete()
        left = None if left is None else left - len(keys)
        time.sleep(0.005)  # a writer that waits gets its turn
