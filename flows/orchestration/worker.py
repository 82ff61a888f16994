"""`python -m flows.orchestration.worker`: offers the flows as Prefect deployments, and runs those that are due.

A flow is due by the clock, on request or by an event. The deployments belong to a work pool, so that another machine
can take runs from it (docs/production.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.core import heartbeat
from registry.core.priority import lower_priority
from registry.core.settings import settings

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.events import DeploymentEventTrigger

POOL = "visionloop"
TRAIN, WATCH, RELEASE = "training", "watching", "releasing"
"""Work queues of the pool: for runs that may train, for the monitor, and for releases."""
RUNS = 4
"""Flow runs at once: monitor and release of one model need not wait for trainings of others. One training runs at once
(`flows.orchestration.flows.TRAINING`)."""
BEAT_EVERY_S = 2.0


def main() -> None:
    lower_priority()  # so do the flows that it starts
    settings().apply_environment()
    asyncio.run(work(deployments()))


async def work(offered: Sequence[RunnerDeployment]) -> None:
    """Offers the deployments and runs those that become due, until a signal comes."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    async with get_client() as client:
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for deployment in offered:
        await deployment.aapply()
    beating = asyncio.create_task(_beat())
    try:
        await ProcessWorker(work_pool_name=POOL, limit=RUNS).start(printer=_silent)
    finally:
        beating.cancel()


async def _beat() -> None:
    """Shows the supervisor that the deployments are there, and then that the event loop turns."""
    while True:
        heartbeat.beat()
        await asyncio.sleep(BEAT_EVERY_S)


def _silent(*_: Any) -> None:
    """Drops what Prefect prints at its start: how to start runs in another way than ours."""


def deployments() -> list[RunnerDeployment]:
    """Five per model: loop, releases and imports on request, the monitor by the clock, the retraining on an event."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType

    from flows.orchestration import flows
    from flows.orchestration.flows import loop_flow, monitor_flow, retrain_flow

    # Each deployment runs once at a time; the next run waits.
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    found = []
    for model in catalog.names():
        common: dict[str, Any] = {
            "tags": ["visionloop", model],
            "concurrency_limit": one,
            "work_pool_name": POOL,
            "entrypoint_type": EntrypointType.MODULE_PATH,
            "job_variables": {"working_dir": str(settings().root)},
        }
        found += [
            loop_flow.to_deployment(f"loop-{model}", parameters={"model": model}, work_queue_name=TRAIN, **common),
            monitor_flow.to_deployment(
                f"monitor-{model}",
                parameters={"model": model},
                interval=timedelta(seconds=settings().monitor_every_s),
                work_queue_name=WATCH,
                **common,
            ),
            retrain_flow.to_deployment(
                f"retrain-{model}",
                parameters={"model": model},
                triggers=[_on_drift(model)],
                work_queue_name=TRAIN,
                **common,
            ),
            flows.release_flow.to_deployment(f"release-{model}", work_queue_name=RELEASE, **common),
            flows.import_flow.to_deployment(f"data-import-{model}", work_queue_name=TRAIN, **common),
        ]
    return found


def _on_drift(model: str) -> DeploymentEventTrigger:
    """Starts a retraining when a verdict asks for one."""
    from prefect.events import DeploymentEventTrigger

    from flows.orchestration.flows import DRIFT_EVENT, resource

    return DeploymentEventTrigger(
        name=f"retrain {model} on drift",
        expect={f"{DRIFT_EVENT}.retrain"},
        match={"prefect.resource.id": resource(model)},
        parameters={
            "model": model,
            "verdict": "{{ event.payload.verdict }}",
            "run": "{{ event.payload.run }}",
            "asked_by": "the drift monitor",
        },
    )


if __name__ == "__main__":
    main()
