"""`python -m flows.worker`: offers the flows as deployments and runs them when they are due, asked for or triggered."""

from __future__ import annotations

from datetime import timedelta

from registry import catalog
from registry.priority import give_way
from registry.settings import settings


def main() -> None:
    give_way()  # so do the flows that it starts
    settings().apply_environment()
    from prefect import serve
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.events import DeploymentEventTrigger

    from flows.orchestration import DRIFT_EVENT, loop_flow, monitor_flow, resource, retrain_flow

    # One at a time, the next one waits: two trainings on the same cores help nobody.
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    deployments = []
    for model in catalog.names():
        tags = ["visionloop", model]
        deployments += [
            loop_flow.to_deployment(f"loop-{model}", parameters={"model": model}, tags=tags, concurrency_limit=one),
            monitor_flow.to_deployment(
                f"monitor-{model}",
                parameters={"model": model},
                tags=tags,
                concurrency_limit=one,
                interval=timedelta(seconds=settings().monitor_every_s),
            ),
            retrain_flow.to_deployment(
                f"retrain-{model}",
                parameters={"model": model},
                tags=tags,
                concurrency_limit=one,
                triggers=[
                    DeploymentEventTrigger(
                        name=f"retrain {model} on drift",
                        expect={f"{DRIFT_EVENT}.retrain"},
                        match={"prefect.resource.id": resource(model)},
                        parameters={"model": model, "verdict": "{{ event.payload.verdict }}"},
                    )
                ],
            ),
        ]
    serve(*deployments, pause_on_shutdown=False, print_starting_message=False, limit=2)


if __name__ == "__main__":
    main()
