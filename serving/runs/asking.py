"""Asks the router with the account's own key: decrypts a file while it sends it, encrypts an answer while it comes.

Unlike `serving.client` it holds no file in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
from django.db import DatabaseError

from registry.contract import catalog
from registry.core.errors import VisionloopError
from registry.core.settings import settings
from serving.access import keys
from serving.client.calls import error_of_response
from serving.idempotency import store as keyed_requests
from serving.idempotency.once import HEADER as ONCE
from serving.runs import files, low_scores
from serving.runs.models import Kind, Run
from serving.tasks.models import Task

CONNECT_S = 5.0
RESULTS = {
    Kind.VIDEO: ("video/webm", files.VIDEO),
    Kind.SCAN: ("application/x-nifti", files.MASK),
    Kind.PICTURE: ("image/png", files.PICTURE_MASK),
}
"""Of runs that are worked on as tasks: the content type of the result beside the JSON, and its name."""


def as_task(run: Run) -> bool:
    """Whether a run is worked on as a task: it takes long, or its result is a file beside the JSON."""
    return run.kind != Kind.PICTURE or catalog.get(run.model).task == "segmentation"


class Router:
    """The calls of runs. Safe to use from several threads.

    Raises (every method):
        VisionloopError: what the router refused.
        httpx.TransportError: it does not answer.
    """

    def __init__(self) -> None:
        timeout = httpx.Timeout(settings().request_timeout_s + 10, connect=CONNECT_S)
        self._http = httpx.Client(base_url=settings().router_address, timeout=timeout, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def predict(self, run: Run, token: str) -> dict[str, Any]:
        """The answer to a picture; `annotated.jpg` is written."""
        if low_scores.wanted(run):
            answer = self._send(run, token, "predict", score=f"{low_scores.LEAST:g}").json()
            return _kept(run.id, low_scores.settle(run, answer))
        return _kept(run.id, self._send(run, token, "predict", image="true").json())

    def explain(self, run: Run, token: str) -> None:
        """Writes `heatmap.jpg`."""
        answer = self._send(run, token, "explain")
        files.write(run.id, files.HEATMAP, answer.content)

    def submit(self, run: Run, token: str) -> str:
        """Submits a run that is `as_task`; returns the task's id."""
        return str(self._send(run, token, "tasks", format=RESULTS[Kind(run.kind)][0], image="true").json()["id"])

    def look(self, run: Run) -> Task | None:
        """How far the task is; None where there is no such task any more. In the database: looks over HTTP would count
        against the person's quota."""
        return Task.objects.filter(id=run.task_id).first()

    def fetch(self, run: Run, token: str) -> dict[str, Any]:
        """Writes the task's result and returns its answer; `annotated.jpg` is written, too."""
        media, name = RESULTS[Kind(run.kind)]
        address, headers = f"{self._task(run)}/result", _key(token)
        with self._http.stream("GET", address, headers={**headers, "Accept": media}) as answer:
            if not answer.is_success:
                answer.read()
                raise error_of_response(answer)
            with files.create(run.id, name) as out:
                for piece in answer.iter_bytes(1 << 20):
                    out.write(piece)
                out.finish()
        return _kept(run.id, self._checked(self._http.get(address, headers=headers, params={"format": "json"})).json())

    def drop(self, run: Run, token: str, *, over: bool = False) -> None:
        """Ends the task unless it is `over`, and removes what is kept of it. Nothing happens where there is none."""
        for parameters in ({"purge": "true"},) if over else ({}, {"purge": "true"}):
            self._http.delete(self._task(run), headers=_key(token), params=parameters)

    def forget(self, run: Run, token: str) -> None:
        """Removes the answers that the router keeps to repeat them: the run has what it asked for.

        Where the database is away, they leave after a day.
        """
        found = keys.parse(token)
        if found is None:
            return
        with suppress(DatabaseError):
            keyed_requests.forget_keys(f"vl_{found[0]}", run.id)

    def _send(self, run: Run, token: str, call: str, **parameters: str) -> httpx.Response:
        """Asks once, also where the process that asked before was killed: the router repeats the answer to it."""
        asked = {**parameters, **{name: str(value) for name, value in run.options.items()}}
        if run.wanted is not None:
            asked["version"] = str(run.wanted)
        once = _once(run, call, asked)
        answer = self._post(run, token, call, asked, once)
        if answer.status_code == 409 and not answer.headers.get("retry-after"):  # its answer was too large to be kept
            answer = self._post(run, token, call, asked, f"{once}-{uuid.uuid4().hex}")
        return self._checked(answer)

    def _post(self, run: Run, token: str, call: str, asked: dict[str, str], once: str) -> httpx.Response:
        with files.reader(run.id, files.INPUT) as file:
            headers = {**_key(token), "Content-Type": "application/octet-stream", "Content-Length": str(file.size)}
            return self._http.post(
                f"/v1/models/{run.model}/{call}",
                params=asked,
                content=_whole(file.pieces()),
                headers={**headers, ONCE: once},
            )

    def _task(self, run: Run) -> str:
        return f"/v1/models/{run.model}/tasks/{run.task_id}"

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            raise error_of_response(answer)
        return answer


def _whole(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces


def _once(run: Run, call: str, asked: dict[str, str]) -> str:
    """The idempotency key of a call: another one when the run is begun anew, or asked in another way."""
    text = json.dumps([call, asked, run.queued.isoformat() if run.queued else ""], sort_keys=True)
    return f"{run.id}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _key(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _kept(run_id: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Writes the answer and the picture in it. Returns the answer without the picture."""
    picture = answer.pop("image", None)
    if picture:
        files.write(run_id, files.ANNOTATED, base64.b64decode(picture))
    files.write(run_id, files.ANSWER, json.dumps(answer).encode())
    return answer


def labels_of(answer: dict[str, Any]) -> str:
    """The classes that an answer names, as `Run.labels`."""
    names = [name for name, count in answer.get("counts", {}).items() if isinstance(count, int) and count]
    objects = answer.get("counts", {}).get("objects")
    names += [*objects] if isinstance(objects, dict) else []
    names += [answer["class"]] if isinstance(answer.get("class"), str) else []
    names += [one["name"] for one in answer.get("classes", []) if isinstance(one, dict) and one.get("pixels")]
    return f"|{'|'.join(dict.fromkeys(names))}|" if names else ""


def fields_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps of its answer in the database."""
    return {
        "prediction_id": answer.get("id", ""),
        "version": answer.get("version"),
        "role": answer.get("role", ""),
        "elapsed_ms": answer.get("elapsed_ms"),
        "labels": labels_of(answer),
    }


def retry_s(error: Exception) -> float | None:
    """After how many seconds a call that ended in `error` may be tried again; None: never."""
    if isinstance(error, httpx.TransportError):
        return 1.0
    # 409: the call of a process that was killed is still being answered.
    if isinstance(error, VisionloopError) and error.status in (409, 429, 503) and error.retry_after_s is not None:
        return float(error.retry_after_s) if error.retry_after_s <= 120 else None
    return None
