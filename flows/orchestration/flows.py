"""The loop as Prefect flows and tasks. Importing it takes seconds, because it imports Prefect.

Prefect stores no arguments and no results of tasks. One training runs at a time, whoever asked for it: all wait for the
one slot of the concurrency limit `TRAINING`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows import steps
from flows.orchestration.prefect_progress import show_in_prefect
from flows.steps import loop
from flows.steps.dvc_stages import OnLine
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import MissingService, NotFound, StorageError
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from serving.releases.plans import trial

DRIFT_EVENT = "visionloop.drift"
TRAINING = "visionloop-training"
"""Prefect's global concurrency limit. It has one slot unless somebody changes it in Prefect."""


def _is_retryable(_: Any, __: Any, state: Any) -> bool:
    """A service that is away may come back. A refusal or bad data stays the same."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, MissingService | OSError) and not isinstance(error, StorageError)


def _task(work: Callable[..., Any], name: str, run_name: str, timeout_s: float, retries: int = 0) -> Any:
    """`retries`: of steps that ask a service, which may be restarting. A failed training would only fail again."""
    return task(
        work,
        name=name,
        task_run_name=run_name,
        timeout_seconds=timeout_s,
        retries=retries,
        retry_delay_seconds=[3, 10, 30][:retries],
        retry_condition_fn=_is_retryable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@contextmanager
def training_slot(model: str) -> Iterator[None]:
    """Waits for the slot, says so in the journal, and holds it while a training runs."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(TRAINING)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another flow made it meanwhile
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=TRAINING, limit=1))
        if client.read_global_concurrency_limit_by_name(TRAINING).active_slots:
            journal.fact("data", f"another training is running; {model} waits for it", model)
    with concurrency(TRAINING, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _build(model: str, on_line: OnLine) -> Bundle:
    return steps.build(model, on_line, lambda: training_slot(model))


VERSION = "{version.model} version {version.number}"
TASKS = loop.Tasks(
    data=_task(steps.prepare_data, "data", "data of {model}", 900),
    labels=_task(steps.take_labels, "labels", "labels of {model}", 1200),
    # The time of the build includes the wait for the slot.
    build=_task(_build, "train-compress-evaluate", "train, compress and evaluate {model}", 8 * 3600),
    register=_task(steps.register, "register", "register {model}", 600, retries=3),
    decide=_task(steps.decide, "decide", f"decide on {VERSION}", 1200, retries=1),
    package=_task(steps.package, "package", f"package {VERSION}", 300, retries=1),
    release=_task(steps.release, "release", f"release {VERSION}", 300, retries=1),
    watch=_task(steps.watch, "watch", "watch {model}", 1200),
)


def _log_line(line: str) -> None:
    get_run_logger().info(line)


def _add_artifacts(outcome: loop.Outcome, model: str) -> None:
    """Shows the decision, and a link to its page, in Prefect's UI."""
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
    with journal.run(), show_in_prefect(model):
        outcome = loop.run(model, tasks=TASKS, on_line=_log_line, asked_by=asked_by, why=why, start=start)
    _add_artifacts(outcome, model)
    return str(outcome)


@flow(
    name="monitor",
    flow_run_name="watch {model}",
    description="compare recent predictions with the reference; on drift, ask for retraining",
)
def monitor_flow(model: str, last: int | None = None, since: float | None = None) -> str:
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
    return steps.in_words(verdict, page)


@flow(
    name="retrain",
    flow_run_name="retrain {model}",
    description="fine-tune the champion on labelled predictions; the gate decides",
)
def retrain_flow(model: str, verdict: str = "", run: str = "", asked_by: str = "Prefect") -> str:
    """`run`: the journal's run that asked for it. The retraining continues that run."""
    with journal.run(run), show_in_prefect(model):
        outcome = loop.retrain(model, verdict, tasks=TASKS, on_line=_log_line, asked_by=asked_by)
    _add_artifacts(outcome, model)
    return str(outcome)


@flow(
    name="release",
    flow_run_name="{action} of {model}: {why}",
    description="change which versions get a model's traffic, as `visionloop release` does",
)
def release_flow(
    model: str,
    action: Literal["release", "canary", "shadow", "ab", "rollback"],
    versions: list[str],
    share: int = 10,
    why: str = "",
    anyway: str = "",
    who: str = "",
) -> str:
    """`versions`: of `release`, `canary` and `shadow` one, of `ab` two; `share`: of `canary` and `ab`, percent."""
    from flows.releases import changes

    with journal.run(), show_in_prefect(model):
        if action == "rollback":
            changes.roll_back(model, _log_line, why=why, who=who)
        elif action == "release":
            changes.switch(model, versions[0], _log_line, why=why, anyway=anyway, who=who)
        else:
            plan = trial(model, action, **({} if action == "shadow" else {"share": share}))
            changes.start_trial(plan, tuple(versions), _log_line, why=why, anyway=anyway, who=who)
    return changes.live_now(model)


@flow(
    name="data-import",
    flow_run_name="import data of {model}",
    description="check a zip of labelled pictures and make it the model's data set",
)
def import_flow(model: str, path: str, replace: bool = False) -> str:
    """Deletes the zip at the end, whether it could be used or not."""
    from flows.steps import replacing

    source = Path(path)
    try:
        with journal.run(), show_in_prefect(model), replacing.data_set(model, replace, "Import a zip"):
            taken, found = replacing.import_from(model, source, {})
    finally:
        source.unlink(missing_ok=True)
    for note in taken.notes:
        _log_line(note)
    return f"{taken.train} training, {taken.val} validation and {taken.test} test cases: {found}"


def resource(model: str) -> str:
    return f"visionloop.model.{model}"
