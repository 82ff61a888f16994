"""The loop as Prefect flows. Imported only where Prefect is wanted: the import alone takes seconds."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from flows import loop
from registry import catalog, journal
from registry.settings import settings

T = TypeVar("T")

DRIFT_EVENT = "visionloop.drift"
# Steps that talk to a service that may be restarting are tried again; a training that failed would fail again.
RETRIES = {"register": 3, "decide": 1, "package": 1, "release": 1}
LIMIT_S = {"data": 900, "train-compress-evaluate": 4 * 3600, "register": 600, "package": 300, "release": 300}


def as_tasks(name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`flows.loop.Do`: the step as a Prefect task. Arguments stay in this process and are not recorded."""
    from registry.errors import MissingService, StorageError

    def worth_another_try(_: Any, __: Any, state: Any) -> bool:
        """A service that is away may come back; a refusal or bad data stays what it is."""
        error = state.result(raise_on_failure=False)
        return isinstance(error, MissingService | OSError) and not isinstance(error, StorageError)

    step = task(
        function,
        name=name,
        retries=RETRIES.get(name, 0),
        retry_delay_seconds=[3, 10, 30],
        retry_condition_fn=worth_another_try,
        timeout_seconds=LIMIT_S.get(name, 1200),
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return step(*args, **kwargs)  # type: ignore[return-value]


@contextmanager
def shown(model: str) -> Iterator[None]:
    """Copies the journal into the run: its lines into the log, its progress into a progress artifact per step."""
    stop = threading.Event()
    logger = get_run_logger()

    def follow() -> None:
        offset, bars, last = journal.end_of_file(), {}, 0.0
        while True:
            ending = stop.is_set()
            lines, offset = journal.read(offset)
            newest: dict[str, dict[str, Any]] = {}
            for line in lines:
                if line.get("kind") == "progress":
                    newest[line["step"]] = line
                elif line.get("kind") == "fact":
                    logger.info("%s: %s", line["step"], line.get("text"))
                elif line.get("kind") == "finish":
                    logger.info("%s %s in %.1f s %s", line["step"], line["outcome"], line["seconds"], line.get("note"))
                    newest.setdefault(line["step"], {"done": 1, "total": 1}) if line["step"] in bars else None
            if newest and (ending or time.monotonic() - last > 2):
                last = time.monotonic()
                for step, line in newest.items():
                    share = 100.0 * min(1.0, float(line["done"]) / max(float(line["total"]), 1e-9))
                    if step not in bars:
                        key = f"{step}-{model}".replace("_", "-")
                        bars[step] = create_progress_artifact(share, key=key, description=f"{step} of {model}")
                    else:
                        update_progress_artifact(bars[step], share)
            if ending:
                return
            stop.wait(0.5)

    # The run's context lives in context variables: the thread works in a copy of ours.
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(follow), name="journal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=15)


def _say(line: str) -> None:
    get_run_logger().info(line)


def _tell(outcome: loop.Outcome, model: str) -> None:
    """Leaves the decision and the addresses in Prefect's UI."""
    from flows import steps

    decision = steps.decided(outcome.version) or {}
    rows = "\n".join(
        f"| {'yes' if r['passed'] else 'NO'} | {r['rule']} | {r['found']} | {r['expected']} |"
        for r in decision.get("reasons", [])
    )
    key = model.replace("_", "-")
    create_markdown_artifact(
        f"## {decision.get('summary', outcome.version)}\n\n| | rule | found | expected |\n|---|---|---|---|\n{rows}\n",
        key=f"decision-{key}",
    )
    create_link_artifact(
        f"{settings().home_address}/decisions/{model}/{decision.get('id', '')}.html",
        link_text="the decision page",
        key=f"decision-page-{key}",
    )


@flow(name="loop", description="data -> checks -> train -> compress -> evaluate -> register -> decide -> release")
def loop_flow(model: str, asked_by: str = "Prefect", why: str = "run of the loop") -> str:
    with shown(model):
        outcome = loop.run(model, do=as_tasks, say=_say, asked_by=asked_by, why=why)
    _tell(outcome, model)
    return f"{outcome.version} {'live' if outcome.live else 'not promoted'}"


@flow(name="monitor", description="compare recent predictions with the reference; ask for retraining on drift")
def monitor_flow(model: str, last: int | None = None, since: float | None = None) -> str:
    from registry.errors import NotFound
    from serving import releases

    if releases.live(model) is None:
        return f"no version of {model} is live: nothing to watch"
    try:
        verdict = loop.monitor(model, do=as_tasks, last=last, since=since)
    except NotFound as error:
        return error.found
    if isinstance(verdict, str):
        return verdict
    emit_event(
        f"{DRIFT_EVENT}.{verdict.action}",
        resource={"prefect.resource.id": resource(model), "prefect.resource.name": catalog.get(model).title},
        payload={"verdict": verdict.id, "version": verdict.version, "why": verdict.why, "drifted": verdict.drifted},
    )
    page = f"{settings().home_address}/{verdict.page.relative_to(settings().var)}"
    create_link_artifact(page, link_text=verdict.why, key=f"drift-{model.replace('_', '-')}")
    return f"{verdict.action}: {verdict.why}"


@flow(name="retrain", description="fine-tune the champion on labelled predictions; the gate decides")
def retrain_flow(model: str, verdict: str = "") -> str:
    with shown(model):
        outcome = loop.retrain(model, verdict, do=as_tasks, say=_say, asked_by="the drift monitor")
    _tell(outcome, model)
    return f"{outcome.version} {'live' if outcome.live else 'not promoted'}"


def resource(model: str) -> str:
    return f"visionloop.model.{model}"
