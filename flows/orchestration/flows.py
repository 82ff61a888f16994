"""The loop as Prefect flows and tasks. Imported only where Prefect is wanted: the import alone takes seconds.

Arguments and results stay in the process of the flow: nothing of them is stored. One training at a time, wherever it
was asked for: all of them wait for the one slot of the concurrency limit `TRAINING`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows import steps
from flows.orchestration.prefect_progress import shown
from flows.steps import loop
from flows.steps.dvc_stages import OnLine
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import MissingService, NotFound, StorageError
from registry.core.settings import settings
from registry.versions.bundle import Bundle

DRIFT_EVENT = "visionloop.drift"
TRAINING = "visionloop-training"
"""Prefect's global concurrency limit; its number of slots is 1 unless somebody changes it in Prefect."""


def _worth_another_try(_: Any, __: Any, state: Any) -> bool:
    """A service that is away may come back; a refusal or bad data stays what it is."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, MissingService | OSError) and not isinstance(error, StorageError)


KEPT_HERE: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
AGAIN: dict[str, Any] = {"retry_delay_seconds": [3, 10, 30], "retry_condition_fn": _worth_another_try, **KEPT_HERE}
"""For steps that talk to a service that may be restarting; a training that failed would fail again."""


@contextmanager
def training_slot(model: str) -> Iterator[None]:
    """Held while a training runs; waits for it, and says so."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(TRAINING)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another flow was quicker
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=TRAINING, limit=1))
        if client.read_global_concurrency_limit_by_name(TRAINING).active_slots:
            journal.fact("data", f"another training is under way; that of {model} waits for its turn", model)
    with concurrency(TRAINING, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _build(model: str, on_line: OnLine) -> Bundle:
    return steps.build(model, on_line, lambda: training_slot(model))


TASKS = loop.Tasks(
    data=task(
        steps.prepare_data, name="data", task_run_name="data of {model}", timeout_seconds=900, **KEPT_HERE
    ),
    labels=task(
        steps.take_labels, name="labels", task_run_name="labels of {model}", timeout_seconds=1200, **KEPT_HERE
    ),
    build=task(
        _build,
        name="train-compress-evaluate",
        task_run_name="train, compress and evaluate {model}",
        timeout_seconds=8 * 3600,  # with the wait for the slot
        **KEPT_HERE,
    ),
    register=task(
        steps.register, name="register", task_run_name="register {model}", retries=3, timeout_seconds=600, **AGAIN
    ),
    decide=task(
        steps.decide,
        name="decide",
        task_run_name="decide on {version.model} version {version.number}",
        retries=1,
        timeout_seconds=1200,
        **AGAIN,
    ),
    package=task(
        steps.package,
        name="package",
        task_run_name="package {version.model} version {version.number}",
        retries=1,
        timeout_seconds=300,
        **AGAIN,
    ),
    release=task(
        steps.release,
        name="release",
        task_run_name="release {version.model} version {version.number}",
        retries=1,
        timeout_seconds=300,
        **AGAIN,
    ),
    watch=task(steps.watch, name="watch", task_run_name="watch {model}", timeout_seconds=1200, **KEPT_HERE),
)  # fmt: skip


def _log_line(line: str) -> None:
    get_run_logger().info(line)


def _tell(outcome: loop.Outcome, model: str) -> None:
    """Leaves the decision and its address in Prefect's UI."""
    decision = steps.latest_decision(outcome.version) or {}
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


@flow(
    name="loop",
    flow_run_name="{model}: {why}",
    description="data -> checks -> train -> compress -> evaluate -> register -> decide -> release",
)
def loop_flow(model: str, asked_by: str = "Prefect", why: str = "run of the loop", start: str | None = None) -> str:
    with journal.run(), shown(model):
        outcome = loop.run(model, tasks=TASKS, on_line=_log_line, asked_by=asked_by, why=why, start=start)
    _tell(outcome, model)
    return f"{outcome.version} {'live' if outcome.live else 'not promoted'}"


@flow(
    name="monitor",
    flow_run_name="watch {model}",
    description="compare recent predictions with the reference; ask for retraining on drift",
)
def monitor_flow(model: str, last: int | None = None, since: float | None = None) -> str:
    from serving.releases import store

    if store.live(model) is None:
        return f"no version of {model} is live: nothing to watch"
    with journal.run() as run:
        try:
            verdict = loop.monitor(model, tasks=TASKS, last=last, since=since)
        except NotFound as error:
            return error.found
    if isinstance(verdict, str):
        return verdict
    emit_event(
        f"{DRIFT_EVENT}.{verdict.action}",
        resource={"prefect.resource.id": resource(model), "prefect.resource.name": catalog.get(model).title},
        payload={
            "verdict": verdict.id,
            "version": verdict.version,
            "why": verdict.why,
            "drifted": verdict.drifted,
            "run": run,
        },
    )
    page = f"{settings().home_address}/{verdict.page.relative_to(settings().var)}"
    create_link_artifact(page, link_text=verdict.why, key=f"drift-{model.replace('_', '-')}")
    return f"{verdict.action}: {verdict.why}\n{page}"


@flow(
    name="retrain",
    flow_run_name="retrain {model}",
    description="fine-tune the champion on labelled predictions; the gate decides",
)
def retrain_flow(model: str, verdict: str = "", run: str = "") -> str:
    """`run`: the journal's run that asked for it, which it goes on with."""
    with journal.run(run), shown(model):
        outcome = loop.retrain(model, verdict, tasks=TASKS, on_line=_log_line, asked_by="the drift monitor")
    _tell(outcome, model)
    return f"{outcome.version} {'live' if outcome.live else 'not promoted'}"


def resource(model: str) -> str:
    return f"visionloop.model.{model}"
