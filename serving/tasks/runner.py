"""Works on the tasks of a model, one at a time, beside the requests whose callers wait.

A lease holds a task, and is renewed while the service lives. When the service dies, the lease runs out, and the next
service of the model begins the task anew. A service that is stopped in order gives its task back.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

from monitoring.log.shipping import has_keeper
from registry.contract.spec import ModelSpec
from registry.core import database
from registry.core.errors import BadInput
from registry.core.media import OnProgress
from serving.tasks import store, task_files
from serving.wire import responses
from serving.wire.call import Outcome, RequestContext, ServedVersion
from serving.wire.deadline import CallerGone
from serving.wire.negotiation import JSON, ResponseFormat

if TYPE_CHECKING:
    from serving.tasks.models import Task

logger = logging.getLogger("visionloop.tasks")

POLL_S = 0.5
RENEW_S = 1.0
PRUNE_EVERY_S = 600.0
RETRY_DATABASE_S = 5.0
GIVE_BACK_S = 2.0
"""A task is given back between two frames, within milliseconds. Work in one piece, such as a scan, is left to the lease
if it takes longer than this."""


class TaskLost(CallerGone):
    """This attempt at a task no longer counts; the log has it as such."""

    def __init__(self) -> None:
        super().__init__("the task was cancelled, or is left to another service")


class Version(Protocol):
    """What tasks need of a loaded version; `serving.service.version.LoadedVersion` has it."""

    served: ServedVersion

    @property
    def spec(self) -> ModelSpec: ...

    def predict(self, body: bytes, wants: ResponseFormat, context: RequestContext, watch: OnProgress) -> Outcome: ...


class TaskRunner:
    """One thread that works on tasks, and a second one that renews the lease of the current task.

    Args:
        is_draining: whether the service is being stopped.
    """

    def __init__(self, version: Version, is_draining: Callable[[], bool]) -> None:
        self._version = version
        self._is_draining = is_draining
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Gives the current task back, for the next service to begin anew. Waits for that."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(GIVE_BACK_S)

    def _leaves(self) -> bool:
        return self._stop.is_set() or self._is_draining()

    def _run(self) -> None:
        if has_keeper():  # which prunes; without one this thread does, and needs the database for it
            has_tasks = store.TaskFolderWatch()
            while not self._leaves() and not has_tasks():
                self._stop.wait(POLL_S)
        prune_at, away = 0.0, False
        while not self._leaves():
            try:
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + PRUNE_EVERY_S
                    store.prune()
                task = store.claim(self._version.served.model, self._version.served.version, self._owner)
                away = False
            except Exception as error:  # no error may end the thread; the database's pass
                if not away:
                    logger.warning("tasks cannot be read, and wait: %s", error)
                away, task = True, None
                database.close_connection()
            if task is not None:
                self._work(task)
            else:
                self._stop.wait(RETRY_DATABASE_S if away else POLL_S)

    def _work(self, task: Task) -> None:
        progress = _Progress(task, self._owner, self._leaves)
        progress.start()
        try:
            result = self._answer(task, progress)
            self._write(partial(store.finish, task.id, self._owner, *result), progress)
        except TaskLost:
            logger.info("task %s was cancelled, or is left to another service", task.id)
            with suppress(Exception):  # then the lease runs out, and `prune` removes what was cancelled
                store.give_back(task.id, self._owner)
        except Exception as error:
            if not isinstance(error, BadInput):
                logger.exception("task %s failed", task.id)
            with suppress(Exception):  # then the lease runs out, and it is tried again
                self._write(partial(store.fail, task.id, self._owner, responses.entry_json(error)), progress)
        finally:
            progress.end()

    def _write(self, write: Callable[[], object], progress: _Progress) -> None:
        """Writes how a task ended; tries again while the database is away. Raises TaskLost."""
        from django.db import InterfaceError, OperationalError

        while True:
            try:
                write()
                return
            except (OperationalError, InterfaceError) as error:
                logger.warning("the database is away, the end of a task waits: %s", error)
                database.close_connection()
                progress.check()
                self._stop.wait(RENEW_S)

    def _answer(self, task: Task, progress: _Progress) -> tuple[bytes, str, dict[str, str], bytes | None]:
        """Content, media type and headers of the result; the JSON answer, where the result is a file."""
        began, wants = time.perf_counter(), ResponseFormat(**task.wants)
        served, context = replace(self._version.served, role=task.role), RequestContext(task.caller, task.role)
        outcomes: list[Outcome | BaseException] = []
        for n in range(task.inputs):
            body = task_files.read(task_files.input_file(task.id, n))
            progress.begin_input(n, task.inputs)
            try:
                outcomes.append(self._version.predict(body, wants, context, progress))
            except TaskLost:
                raise
            except BadInput as error:
                if not task.several:
                    raise
                outcomes.append(error)
        response: Response
        findings = None
        if task.several:
            elapsed_ms = 1000 * (time.perf_counter() - began)
            response = responses.list_response(outcomes, wants, served, elapsed_ms, task.names or ())
        else:
            (outcome,) = outcomes
            assert isinstance(outcome, Outcome)
            response = responses.prediction_response(outcome, wants, served, self._version.spec)
            if wants.media != JSON:
                findings = bytes(responses.JsonResponse(responses.prediction_json(outcome, wants, served)).body)
        headers = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return bytes(response.body), response.headers["content-type"], headers, findings


class _Progress:
    """How far a task is: set by the work, written down every `RENEW_S` by a thread. Ends the work when it is lost."""

    def __init__(self, task: Task, owner: str, leaves: Callable[[], bool]) -> None:
        self._task, self._owner, self._leaves = task, owner, leaves
        self._done_of_total = (0, task.total)
        self._several = False
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_over, name="task-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def begin_input(self, number: int, count: int) -> None:
        """Input `number` of `count` begins. Raises TaskLost."""
        self._several = count > 1
        self._done_of_total = (number, count)
        self.check()

    def __call__(self, done: int, total: int) -> None:
        """A frame is done. Counts only where the task has a single input. Raises TaskLost."""
        if not self._several:
            self._done_of_total = (done, total)
        self.check()

    def check(self) -> None:
        """Raises TaskLost."""
        if self._lost or self._leaves():
            raise TaskLost()

    def _renew_until_over(self) -> None:
        while not self._over.wait(RENEW_S):
            try:
                self._lost = not store.renew_lease(self._task.id, self._owner, *self._done_of_total)
            except Exception:  # the database may be away for less than the lease
                database.close_connection()
        database.close_connection()
