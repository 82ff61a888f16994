"""The prediction log: one line on disk on the hot path, the database in the background.

`record` appends one JSON line to this process's segment in `var/spool` with a single `write` on an O_APPEND
handle, so the line is safe as soon as the call returns, even from `kill -9` (not from a power cut: no fsync).
A thread ships whole lines to the database in bulk. A segment is emptied only after the transaction that took its
lines has committed, and a line shipped twice is ignored by its id: none is lost, none is doubled. While the
database is away the lines wait on disk.

Every process holds an exclusive `flock` on its segment. The kernel drops it when the process dies, however it
dies; whoever gets the lock then adopts the segment, so exactly one process does.
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
from dataclasses import dataclass
from pathlib import Path

import orjson

from monitoring import embedding, inputs, shipping
from registry import database
from registry.errors import StorageError
from registry.media import FloatArray
from registry.settings import settings

logger = logging.getLogger("visionloop.log")

EVERY_S = 0.25
ADOPT_EVERY_S = 3.0
PRUNE_EVERY_S = 60.0
LONGEST_PAUSE_S = 5.0
SEGMENT_BYTES = 16 * 2**20
WAITING_BODIES_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Record:
    """What is known of one prediction when its answer is ready.

    Attributes:
        id: uuid in hex, 32 characters; the answer's X-Prediction-Id.
        time: unix seconds.
        role: champion, canary or shadow.
        outcome: "ok", or the class name of the error; `status` is the HTTP status.
        embedding: float [D]; empty when the request failed before there was one.
        input_suffix: the ending under which the body is kept, e.g. ".nii.gz".
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

    def to_line(self) -> bytes:
        """One JSON line. The embedding travels as base64 of its float16 bytes, what is not finite as null."""
        fields = {**self.__dict__, "embedding": base64.b64encode(embedding.pack(self.embedding)).decode("ascii")}
        return orjson.dumps(fields, default=float, option=orjson.OPT_APPEND_NEWLINE)


class PredictionLog:
    """This process's end of the log. `start` it once, `record` from any thread, `close` it at the end.

    Attributes:
        lost: records that could not be put on disk (a full disk); the prediction was answered all the same.
        inputs_dropped: inputs that were not kept, because the disk was full or they came faster than it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0
        self.inputs_dropped = 0
        self._folder = settings().var / "spool"
        self._lock = threading.Lock()
        self._handle = -1
        self._path: Path | None = None
        self._size = 0
        self._shipped = 0
        self._bodies: deque[tuple[Record, bytes]] = deque()
        self._bodies_bytes = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def start(self) -> None:
        """Opens the segment and starts shipping. Never raises for a full disk or a missing database."""
        database.setup()
        with self._lock:
            if self._handle < 0:
                self._open()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def record(self, record: Record, body: bytes | None = None) -> None:
        """Logs one prediction; `body` is the input as uploaded, kept for the retention time.

        Safe from any thread and never raises for what the disk does: a line that cannot be written is counted in
        `lost` and warned of once.
        """
        line = record.to_line()
        with self._lock:
            written = self._write(line)
            if body and written and inputs.keeps_any():
                self._queue(record, body)

    def close(self, timeout_s: float = 10.0) -> None:
        """Ships what is left. What cannot be shipped in time stays in the segment for another process to adopt."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return  # the thread still uses the segment; the kernel releases it with the process
        with self._lock:
            if self._handle >= 0:
                if self._size == 0 and self._path is not None:
                    self._path.unlink(missing_ok=True)
                os.close(self._handle)
                self._handle = -1

    @property
    def waiting(self) -> int:
        """Bytes on disk that are not in the database yet."""
        return self._size - self._shipped

    # The hot path; the caller holds the lock.

    def _open(self) -> None:
        path = self._folder / f"{self.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        draft = path.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            fcntl.flock(handle, fcntl.LOCK_EX)  # nobody else knows the name yet, so this cannot wait
            draft.rename(path)  # only now can another process see it, and it is locked
        except OSError as error:
            self._warn("segment", "no segment can be opened in %s: %s", self._folder, error)
            return
        self._handle, self._path, self._size, self._shipped = handle, path, 0, 0

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

    def _run(self) -> None:
        pause, adopt_at, prune_at = EVERY_S, 0.0, time.monotonic() + 5.0
        while True:
            stopping = self._stop.wait(pause)
            self._keep_bodies()
            try:
                self._ship_own()
                if time.monotonic() >= adopt_at and not stopping:
                    self._adopt()
                    adopt_at = time.monotonic() + ADOPT_EVERY_S
                if "database" in self._warned:
                    self._warned.discard("database")
                    logger.warning("the database is back: what waited is shipped")
                pause = EVERY_S
            except Exception as error:  # whatever the database does, the lines wait and the thread lives
                self._warn("database", "the database is away, predictions wait in %s: %s", self._folder, error)
                shipping.close_connection()
                pause = min(pause * 2, LONGEST_PAUSE_S)
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_EVERY_S
                with suppress(OSError):
                    inputs.prune(every_s=0.9 * PRUNE_EVERY_S)
            if stopping:
                shipping.close_connection()
                return

    def _keep_bodies(self) -> None:
        while self._bodies:
            record, body = self._bodies[0]
            try:
                inputs.keep(inputs.place(record.model, record.time, record.id, record.input_suffix), body)
            except (StorageError, OSError) as error:
                self.inputs_dropped += 1
                self._warn("inputs", "inputs are not kept: %s", error)
            with self._lock:
                self._bodies.popleft()
                self._bodies_bytes -= len(body)

    def _ship_own(self) -> None:
        if self._handle < 0 or self._size == 0:
            return
        self._shipped = shipping.ship(self._handle, self._shipped, self._size)
        with self._lock:
            if self._shipped == self._size:
                os.ftruncate(self._handle, 0)
                self._shipped = self._size = 0
                return
            if self._shipped < SEGMENT_BYTES:
                return
            # Lines never stop coming: go on in a new segment, and leave the old one to `_adopt`.
            os.close(self._handle)
            self._handle, self._path = -1, None
            self._open()

    def _adopt(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            if path != self._path:
                shipping.adopt(path)
