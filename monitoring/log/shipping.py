"""Ships spool segments into the database, in bulk: the background half of the prediction log."""

from __future__ import annotations

import base64
import fcntl
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from monitoring.log import answers
from monitoring.log.spool import folder
from registry.core import database

if TYPE_CHECKING:
    from monitoring.log.models import Answer, Prediction

logger = logging.getLogger("visionloop.log")

KEEPER = "_VISIONLOOP_KEEPER"
"""Environment variable of processes that have a keeper beside them; its value does not matter. It is not a setting,
because services that were packaged before there was a keeper would refuse an unknown setting."""
EVERY_S = 0.25
LONGEST_PAUSE_S = 5.0
CHUNK_BYTES = 4 * 2**20
ROWS = 500


class Shipper:
    """Ships segments that no process holds. Use it from one thread.

    Attributes:
        pause_s: seconds until the next `look`; more while the database is away.
    """

    def __init__(self) -> None:
        self.pause_s = EVERY_S
        self._away = False
        self._unreadable: set[Path] = set()

    def look(self) -> None:
        """Ships every free segment. If the database is away, lines wait and nothing is raised."""
        try:
            for path in sorted(folder().glob("*.jsonl")):
                self._adopt(path)
        except Exception as error:
            if not self._away:
                logger.warning("the database is away, predictions wait in %s: %s", folder(), error)
            self._away, self.pause_s = True, min(2 * self.pause_s, LONGEST_PAUSE_S)
            database.close_connection()
            return
        if self._away:
            logger.warning("the database is back: what waited is shipped")
        self._away, self.pause_s = False, EVERY_S

    def _adopt(self, path: Path) -> None:
        """A segment that cannot be read is reported once and tried again later; the others go on."""
        try:
            ship_segment(path)
        except OSError as error:
            if path not in self._unreadable:
                logger.warning("%s cannot be read, its predictions wait in it: %s", path, error)
            self._unreadable.add(path)


def has_keeper() -> bool:
    """Whether a keeper ships and prunes for this process."""
    return bool(os.environ.get(KEEPER))


def ship_segment(path: Path) -> None:
    """Ships a segment and removes it, unless a process holds it."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # its process lives, or another one is adopting it
            if os.stat(path).st_ino != os.fstat(handle).st_ino:
                return
            size = os.fstat(handle).st_size
            done = ship(handle, 0, size)
            if done < size:  # the process died inside its last write; the line counts if it is whole
                _insert([os.pread(handle, size - done, done)])
            path.unlink()
        finally:
            os.close(handle)


def ship(handle: int, start: int, end: int) -> int:
    """Ships the whole lines between two offsets. Returns the offset after the last one."""
    while start < end:
        chunk = os.pread(handle, min(CHUNK_BYTES, end - start), start)
        whole = chunk[: chunk.rfind(b"\n") + 1]
        if not whole:
            break
        _insert(whole.splitlines())
        start += len(whole)
    return start


def _insert(lines: list[bytes]) -> None:
    """Inserts lines in bulk. A line that the database will never take is set aside, not retried.

    Raises:
        django.db.Error: the database is away.
    """
    from django.db import DataError, IntegrityError

    rows = []
    for line in lines:
        try:
            rows.append((line, _rows(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _set_aside(line, error)
    try:
        _create([row for _, row in rows])
    except (DataError, IntegrityError, ValueError, OverflowError):
        for line, row in rows:
            try:
                _create([row])
            except (DataError, IntegrityError, ValueError, OverflowError) as error:
                _set_aside(line, error)


def _create(rows: list[tuple[Prediction, Answer | None]]) -> None:
    """Inserts predictions with their answers, together. What is there already stays as it is."""
    from django.db import transaction

    from monitoring.log.models import Answer, Prediction

    with transaction.atomic():
        Prediction.objects.bulk_create([row for row, _ in rows], batch_size=ROWS, ignore_conflicts=True)
        answers = [answer for _, answer in rows if answer is not None]
        Answer.objects.bulk_create(answers, batch_size=ROWS, ignore_conflicts=True)


def _rows(line: bytes) -> tuple[Prediction, Answer | None]:
    from monitoring.log.models import Answer, Prediction

    fields: dict[str, Any] = orjson.loads(line)
    for name in ("image_statistics", "prediction_statistics"):
        fields[name] = {key: value for key, value in fields[name].items() if value is not None}
    fields["embedding"] = base64.b64decode(fields["embedding"])
    fields["time"] = datetime.fromtimestamp(fields["time"], UTC)
    fields["caller"] = fields["caller"][:128]
    sealed, clear = fields.pop("sealed", None), fields.pop("answer", None)
    row = Prediction(**fields)
    if sealed is not None:
        content = base64.b64decode(sealed)
    elif clear is not None:  # of a service that was packaged before answers were encrypted
        content = answers.seal(row.id, orjson.dumps(clear))
    else:
        return row, None
    return row, Answer(prediction=row, time=row.time, size=len(content), content="", sealed=content)


def _set_aside(line: bytes, error: Exception) -> None:
    path = folder() / "rejected.txt"
    logger.warning("a line of the prediction log is not a record (%s); it is kept in %s", error, path)
    with suppress(OSError), path.open("ab") as out:
        out.write(line.rstrip(b"\n") + b"\n")
