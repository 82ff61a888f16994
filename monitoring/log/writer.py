"""The prediction log: one line on disk on the hot path, the database in the background.

`record` appends one JSON line to this process's segment in `var/spool` with a single `write` on an O_APPEND
handle, so the line is safe as soon as the call returns, even from `kill -9` (not from a power cut: no fsync).

Every process holds an exclusive `flock` on its segment. To hand a segment over, a thread releases the lock and opens a
new segment; when a process dies, the kernel releases its lock. Whoever gets the lock then ships the segment
(monitoring.log.shipping): the stack's keeper, or this thread if there is no keeper. A segment is removed only after the
transaction with its lines has committed, and a line that is shipped twice is ignored by its id, so nothing is lost or
doubled. While the database is away, lines wait on disk; beyond `spool_mb` the oldest are dropped.
"""

from __future__ import annotations

import base64
import fcntl
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from monitoring.log import answers, embedding, inputs, spool
from monitoring.log.shipping import EVERY_S, Shipper, has_keeper
from monitoring.log.spool import folder
from registry.core import database
from registry.core.errors import StorageError, VisionloopError
from registry.core.media import FloatArray

logger = logging.getLogger("visionloop.log")

PRUNE_EVERY_S = 60.0
SEGMENT_BYTES = 16 * 2**20
"""While no process takes the last segment, the next one grows up to this size."""
WAITING_BODIES_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Record:
    """One prediction, as known when its answer is ready.

    Attributes:
        id: uuid in hex, 32 characters; the answer's X-Prediction-Id.
        time: unix seconds.
        role: live, canary, shadow, a or b.
        outcome: "ok", or the class name of the error; `status` is the HTTP status.
        embedding: float [D]; empty when the request failed before there was one.
        input_suffix: the ending under which the body is kept, e.g. ".nii.gz".
        answer: JSON, as `monitoring.log.answers.pack` makes it; None where it is not kept. The line has it encrypted.
    """

    id: str
    time: float
    model: str
    version: int
    role: str
    caller: str
    latency_ms: float
    outcome: str
    status: int
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    embedding: Sequence[float] | FloatArray
    input_suffix: str
    answer: bytes | None = None

    def to_line(self) -> bytes:
        """One JSON line. The embedding is base64 of its float16 bytes, the answer of its encrypted bytes; numbers that
        are not finite are null.

        Raises:
            SettingsError, StorageError: the answer cannot be encrypted, as there is no key.
        """
        fields = {**self.__dict__, "embedding": base64.b64encode(embedding.pack(self.embedding)).decode("ascii")}
        if (answer := fields.pop("answer")) is not None:
            fields["sealed"] = base64.b64encode(answers.seal(self.id, answer)).decode("ascii")
        return orjson.dumps(fields, default=float, option=orjson.OPT_APPEND_NEWLINE)


class PredictionLog:
    """The log of this process. Call `start` once, `record` from any thread, and `close` at the end.

    Attributes:
        lost: records that could not be written, e.g. to a full disk; the prediction was answered all the same.
        inputs_dropped: inputs that were not kept, because the disk was full or too slow.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0
        self.inputs_dropped = 0
        self._lock = threading.Lock()
        self._handle = -1
        self._path: Path | None = None
        self._size = 0
        self._handed: Path | None = None
        self._bodies: deque[tuple[Record, bytes]] = deque()
        self._bodies_bytes = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def start(self) -> None:
        """Opens a segment and starts the background thread. A full disk or a missing database raises nothing."""
        shipper = None if has_keeper() else Shipper()
        if shipper is not None:
            database.setup()
        with self._lock:
            if self._handle < 0:
                self._open()
        self._trim()
        self._thread = threading.Thread(target=self._run, args=(shipper,), name="prediction-log", daemon=True)
        self._thread.start()

    def record(self, record: Record, body: bytes | None = None) -> None:
        """Logs one prediction. `body` is the input as uploaded, kept for the retention time.

        May be called from any thread. Errors of the disk raise nothing: a line that cannot be written is counted in
        `lost`, with one warning.
        """
        try:
            line = record.to_line()
        except (VisionloopError, OSError) as error:
            self._warn("answers", "answers are not kept: %s", error)
            line = replace(record, answer=None).to_line()
        with self._lock:
            written = self._write(line)
            if body and written and inputs.is_kept():
                self._queue(record, body)

    def close(self, timeout_s: float = 10.0) -> None:
        """Hands over the last segment. Lines that are not shipped in time wait in it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return  # the thread still uses the segment; the kernel releases it with the process
        self._hand_over(last=True)

    @property
    def waiting(self) -> int:
        """Bytes on disk that are not in the database yet."""
        handed = 0
        if self._handed is not None:
            with suppress(FileNotFoundError):
                handed = self._handed.stat().st_size
        return self._size + handed

    # The hot path; the caller holds the lock.

    def _open(self) -> None:
        made = self._make()
        if made is not None:
            (self._handle, self._path), self._size = made, 0

    def _make(self) -> tuple[int, Path] | None:
        """A new segment, locked by this process."""
        path = folder() / f"{self.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        draft = path.with_suffix(".new")
        try:
            folder().mkdir(parents=True, exist_ok=True)
            handle = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            fcntl.flock(handle, fcntl.LOCK_EX)  # nobody else knows the name yet, so this cannot wait
            draft.rename(path)  # only now can another process see it, and it is locked
        except OSError as error:
            self._warn("segment", "no segment can be opened in %s: %s", folder(), error)
            return None
        return handle, path

    def _write(self, line: bytes) -> bool:
        if self._handle < 0:
            self._open()
        why = "no segment can be opened"
        try:
            if self._handle >= 0:
                count = os.write(self._handle, line)
                if count == len(line):
                    self._size += count
                    return True
                os.ftruncate(self._handle, self._size)  # the disk filled up in the middle of the line
                why = "the disk is full"
        except OSError as error:
            why = str(error)
        self.lost += 1
        self._warn("lost", "predictions are answered but not logged: %s", why)
        return False

    def _queue(self, record: Record, body: bytes) -> None:
        if self._bodies_bytes + len(body) > WAITING_BODIES_BYTES and self._bodies:
            self.inputs_dropped += 1
            self._warn("bodies", "inputs come faster than the disk takes them: some are not kept")
            return
        self._bodies.append((record, body))
        self._bodies_bytes += len(body)

    def _warn(self, key: str, message: str, *values: object) -> None:
        if key not in self._warned:
            self._warned.add(key)
            logger.warning(message, *values)

    # The background thread.

    def _run(self, shipper: Shipper | None) -> None:
        prune_at = time.monotonic() + 5.0
        while True:
            stopping = self._stop.wait(shipper.pause_s if shipper else EVERY_S)
            self._keep_bodies()  # also where nothing can be handed over
            self._hand_over(last=stopping)
            if shipper is None:
                if stopping:
                    return
                continue
            shipper.look()
            if stopping:
                database.close_connection()
                return
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_EVERY_S
                with suppress(OSError):
                    inputs.prune(every_s=0.9 * PRUNE_EVERY_S)

    def _keep_bodies(self) -> None:
        while self._bodies:
            record, body = self._bodies[0]
            try:
                inputs.keep(inputs.path_of(record.model, record.time, record.id, record.input_suffix), body)
            except (VisionloopError, OSError) as error:  # a full disk, a key file that cannot be read
                self.inputs_dropped += 1
                self._warn("inputs", "inputs are not kept: %s", error)
            with self._lock:
                self._bodies.popleft()
                self._bodies_bytes -= len(body)

    def _hand_over(self, last: bool = False) -> None:
        """Releases the segment and opens a new one, if it has lines and the segment before it was taken."""
        if not last:
            untaken = self._handed is not None and self._handed.exists()
            if self._size == 0 or (untaken and self._size < min(SEGMENT_BYTES, spool.max_bytes() // spool.SEGMENTS)):
                return
            if untaken:
                self._trim()
        fresh = None if last else self._make()
        if fresh is None and not last:
            return  # the disk is full; the old one may still have room
        with self._lock:
            old, size, path = self._handle, self._size, self._path
            (self._handle, self._path), self._size = fresh or (-1, None), 0
            self._handed = path if size else self._handed
        # Before the lines can reach the database: who deletes a prediction must find its input.
        self._keep_bodies()
        if old >= 0:
            if size == 0 and path is not None:
                path.unlink(missing_ok=True)
            os.close(old)  # and with it the lock

    def _trim(self) -> None:
        """Keeps the spool below its limit: segments that no process takes make it grow."""
        with suppress(OSError, StorageError):
            if spool.trim():
                self._warn("trim", "the spool is full, the oldest predictions are dropped: %s", spool.dropped())
