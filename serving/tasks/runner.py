"""Works on the tasks of a model, one at a time, beside the requests that are waited for.

A task is held by a lease that is prolonged while the service lives. When the service dies, the lease runs out, and the
service that comes next, or another one of the model, begins the task anew; when it is stopped in order, it gives the
task back.
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
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from monitoring.log.shipping import has_keeper
from registry.contract.spec import ModelSpec
from registry.core import database
from registry.core.errors import BadInput
from registry.core.media import OnProgress
from serving.tasks import store
from serving.wire.call import Outcome, RequestContext, ServedVersion
from serving.wire.deadline import CallerGone
from serving.wire.negotiation import ResponseFormat

if TYPE_CHECKING:
    from serving.tasks.models import Task

logger = logging.getLogger("visionloop.tasks")

POLL_S = 0.5
RENEW_S = 1.0
PRUNE_EVERY_S = 600.0
RETRY_DATABASE_S = 5.0
GIVE_BACK_S = 2.0
"""Between two frames it takes milliseconds; what is one piece of work, like a scan, is left to the lease if it is not
done by then."""


class TaskLost(CallerGone):
    """Nobody waits for this attempt at a task; the log has it as such."""

    def __init__(self) -> None:
        super().__init__("the task was cancelled, or is left to another service")


class PredictionWorker(Protocol):
    """What the tasks need of the service that they run in; `serving.service.worker.Worker` has it."""

    served: ServedVersion
    draining: bool

    @property
    def spec(self) -> ModelSpec: ...

    def predict_now(self, body: bytes, wants: ResponseFormat, asked: RequestContext, watch: OnProgress) -> Outcome: ...


class TaskRunner:
    """One thread that works, and while it works one that keeps the lease."""

    def __init__(self, worker: PredictionWorker) -> None:
        self._worker = worker
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What runs is given back to be begun anew by the next service. Waits for that."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(GIVE_BACK_S)

    def _leaves(self) -> bool:
        return self._stop.is_set() or self._worker.draining

    def _run(self) -> None:
        if has_keeper():  # who removes what is too old
            signs = store.TaskFolderWatch()
            while not self._leaves() and not signs():
                self._stop.wait(POLL_S)
        prune_at, away = 0.0, False
        while not self._leaves():
            try:
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + PRUNE_EVERY_S
                    store.prune()
                task = store.claim(self._worker.served.model, self._worker.served.version, self._owner)
                away = False
            except Exception as error:  # the database's troubles pass
                if not away:
                    logger.warning("the database is away, tasks wait: %s", error)
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
            done = partial(store.finish, task.id, self._owner, *self._answer(task, progress))
            self._written(done, progress)
        except TaskLost:
            logger.info("task %s was cancelled, or is left to another service", task.id)
            with suppress(Exception):  # else the lease runs out, and what was cancelled is pruned
                store.give_back(task.id, self._owner)
        except Exception as error:
            if not isinstance(error, BadInput):
                logger.exception("task %s failed", task.id)
            with suppress(Exception):  # else the lease runs out, and it is tried again
                self._written(partial(store.fail, task.id, self._owner, store.error_json(error)), progress)
        finally:
            progress.end()

    def _written(self, write: Callable[[], object], progress: _Progress) -> None:
        """Writes how a task ended; an outage of the database only delays it. Raises Lost."""
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

    def _answer(self, task: Task, progress: _Progress) -> tuple[bytes, str, dict[str, str]]:
        from serving.wire import responses

        began, wants = time.perf_counter(), ResponseFormat(**task.wants)
        served, asked = replace(self._worker.served, role=task.role), RequestContext(task.caller, task.role)
        found: list[Any] = []
        for n in range(task.inputs):
            body = (store.task_folder(task.id) / f"input-{n}").read_bytes()
            progress.began(n, task.inputs)
            found.append(self._one(body, wants, asked, progress, task.several))
        response: Response
        if task.several:
            response = responses.list_response(found, wants, served, 1000 * (time.perf_counter() - began))
        else:
            response = responses.prediction_response(found[0], wants, served, self._worker.spec)
        kept = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return bytes(response.body), response.headers["content-type"], kept

    def _one(
        self, body: bytes, wants: ResponseFormat, asked: RequestContext, told: OnProgress, several: bool
    ) -> Outcome | BaseException:
        try:
            return self._worker.predict_now(body, wants, asked, told)
        except TaskLost:
            raise
        except BadInput as error:
            if not several:
                raise
            return error


class _Progress:
    """How far a task is: told by the work, written down every `RENEW_S` by a thread. The work ends when it is lost."""

    def __init__(self, task: Task, owner: str, leaves: Callable[[], bool]) -> None:
        self._task, self._owner, self._leaves = task, owner, leaves
        self._at = (0, task.total)
        self._input = (0, 1)
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="task-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def began(self, number: int, count: int) -> None:
        """Input `number` of `count` begins. Raises Lost."""
        self._input = (number, count)
        self._note(number, count)

    def __call__(self, done: int, total: int) -> None:
        """A frame is done. Raises Lost."""
        if self._input[1] == 1:
            self._note(done, total)
        else:
            self._note(*self._input)

    def check(self) -> None:
        """Raises Lost."""
        if self._lost or self._leaves():
            raise TaskLost()

    def _note(self, done: int, total: int) -> None:
        self._at = (done, total)
        self.check()

    def _beat(self) -> None:
        while not self._over.wait(RENEW_S):
            try:
                self._lost = not store.renew_lease(self._task.id, self._owner, *self._at)
            except Exception:  # the database may be away for less than the lease
                database.close_connection()
        database.close_connection()
