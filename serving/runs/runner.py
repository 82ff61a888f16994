"""Goes on with runs, in threads of the web application's process, until each is over.

All it knows is in the database. A process that ends gives its runs back; of one that was killed, the leases run out.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from registry.core import database
from registry.core.errors import Unauthorized, VisionloopError
from serving.runs import asking, files, pictures, store, tokens
from serving.runs.asking import Router
from serving.runs.models import Extra, Run, State, now
from serving.wire.responses import InternalError

logger = logging.getLogger("visionloop.web")

THREADS = 4
LOOK_EVERY_S = 0.5
RENEW_EVERY_S = 5.0
PRUNE_EVERY_S = 600.0
RETRY_DATABASE_S = 5.0
PATIENCE_S = 900.0
"""How long a run may wait for a service or the router to come back."""
MOST_TRIES = 5
"""How often a run is begun whose process died every time: it may be the reason."""
KEY_KNOWN_S = 60.0
"""A new key is known to a router within two seconds, to one that is starting or has no database later."""


class Runner:
    """Starts threads with `start`, ends them with `stop`.

    Args:
        chores: called now and then in a thread, e.g. to make the examples.
    """

    def __init__(self, chores: Callable[[], object] = lambda: None) -> None:
        self._worker = uuid.uuid4().hex
        self._chores = chores
        self._router = Router()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._hands: dict[str, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, "runs")
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("runs", self._dispatch), ("run-leases", self._renew), ("run-chores", self._tidy))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def stop(self) -> None:
        """Gives all runs back. What is at work may finish, but nobody waits for it."""
        self._ended.set()
        self._wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):
            store.release_all(self._worker)
        database.close_connection()

    def _dispatch(self) -> None:
        away = False
        while not self._ended.is_set():
            self._wake.clear()
            try:
                with self._lock:
                    free = THREADS - len(self._hands)
                for run in store.claim(self._worker, free) if free else ():
                    with self._lock:
                        self._hands[run.id] = time.monotonic()
                    self._pool.submit(self._work, run)
                away = False
            except Exception as error:  # no error may end the thread; the database's pass
                if not away:
                    logger.warning("runs cannot be read, and wait: %s", error)
                away = True
                database.close_connection()
            if away:
                self._ended.wait(RETRY_DATABASE_S)
            else:
                self._wake.wait(LOOK_EVERY_S)
        database.close_connection()

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S):
            with self._lock:
                held = list(self._hands)
            with suppress(Exception):
                if held:
                    store.renew(self._worker, held)
            database.close_connection()

    def _tidy(self) -> None:
        prune_at = 0.0
        while not self._ended.is_set():
            try:
                self._chores()
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + PRUNE_EVERY_S
                    store.prune()
            except Exception as error:
                logger.warning("chores of the gallery wait: %s", error)
            database.close_connection()
            self._ended.wait(10.0)

    def _work(self, run: Run) -> None:
        try:
            database.renew_connection()
            self._step(run)
        except Exception as error:
            try:
                self._failed(run, error)
            except Exception:  # then the lease runs out, and it is tried again
                logger.exception("the end of run %s cannot be written", run.id)
                database.close_connection()
        finally:
            with self._lock:
                self._hands.pop(run.id, None)
            self._wake.set()

    def _step(self, run: Run) -> None:
        token = tokens.token_of(run)
        if run.state == State.CANCELLED:
            self._router.drop(run, token)
            store.let_go(run, task_id="")
        elif run.state == State.DONE:
            self._router.explain(run, token)
            store.let_go(run, heatmap=Extra.DONE)
            self._router.forget(run, token)
        elif run.task_id:
            self._watch(run, token)
        else:
            self._begin(run, token)

    def _begin(self, run: Run, token: str) -> None:
        if run.tries >= MOST_TRIES:
            store.fail(run, _given_up(f"it was begun {run.tries} times, and did not come to an end"))
            return
        if not store.write(run, state=State.RUNNING, begun=run.begun or now(), tries=run.tries + 1):
            return
        if asking.as_task(run):
            store.let_go(run, LOOK_EVERY_S, task_id=self._router.submit(run, token))
        else:
            self._finish(run, self._router.predict(run, token))
            self._router.forget(run, token)

    def _watch(self, run: Run, token: str) -> None:
        task = self._router.look(run)
        if task is None:  # removed, with its files
            store.begin_anew(run)
        elif task.state == "done":
            self._finish(run, self._router.fetch(run, token))
            self._router.drop(run, token, over=True)
            self._router.forget(run, token)
        elif task.state == "failed":
            store.fail(run, task.error or _given_up("the service gave no reason"))
        elif task.state == "cancelled":
            store.fail(run, _given_up("it was cancelled at the service"))
        else:
            began = run.begun or now()
            pause = min(3.0, max(LOOK_EVERY_S, (now() - began).total_seconds() / 20))
            store.let_go(run, pause, done=task.done, total=task.total)

    def _finish(self, run: Run, answer: dict[str, Any]) -> None:
        pictures.write_thumbnails(run)
        if not store.finish(run, done=max(run.total, 1), total=max(run.total, 1), **asking.fields_of(answer)):
            logger.info("run %s was cancelled or deleted while it was worked on", run.id)
            if not Run.objects.filter(id=run.id).exists():
                files.remove(run.id)

    def _failed(self, run: Run, error: Exception) -> None:
        waits_s = (now() - (run.queued or run.created)).total_seconds()
        pause = asking.retry_s(error)
        if isinstance(error, Unauthorized) and waits_s < KEY_KNOWN_S:
            pause = 0.5
        if isinstance(error, VisionloopError) and error.status == 404 and run.task_id and run.state == State.RUNNING:
            store.begin_anew(run)  # the service no longer knows the task
            return
        if pause is not None and waits_s < PATIENCE_S and not self._ended.is_set():
            state = State.WAITING if run.state == State.RUNNING and not run.task_id else run.state
            tries = run.tries if run.task_id else max(0, run.tries - 1)  # nothing was begun
            store.let_go(run, pause, state=state, task_id=run.task_id, tries=tries)
            return
        told = error if isinstance(error, VisionloopError) else InternalError("web application", error)
        if told is not error:
            logger.error("run %s failed", run.id, exc_info=error)
        if run.state == State.DONE:
            store.let_go(run, heatmap=Extra.FAILED)
        elif run.state == State.CANCELLED:
            store.let_go(run, task_id="")
        else:
            store.fail(run, told)


def _given_up(why: str) -> dict[str, str]:
    return {
        "error": "MissingService",
        "found": f"the prediction could not be finished: {why}",
        "expected": "a service that answers",
        "fix": "try again; if it happens again, write to the administrator",
    }
