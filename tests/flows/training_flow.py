"""A flow that does nothing but train, with the real task and its slot; for `test_training_runs`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from prefect import flow

from flows import steps
from flows.orchestration import worker
from flows.orchestration.flows import TASKS
from registry.core.errors import BundleError
from registry.core.settings import settings


@flow(name="train")
def train_flow(model: str) -> None:
    # The stages of the test are scripts, which leave no bundle.
    with steps.exclusive(model), suppress(BundleError):
        TASKS.build(model, print)


def main() -> None:
    """What `flows.orchestration.worker` does, with this flow."""
    from prefect.deployments.runner import EntrypointType

    settings().apply_environment()
    common: dict[str, Any] = {
        "work_pool_name": worker.POOL,
        "work_queue_name": worker.TRAIN,
        "entrypoint_type": EntrypointType.MODULE_PATH,
        "job_variables": {"working_dir": str(settings().root)},
    }
    asyncio.run(worker.work([train_flow.to_deployment("train", **common)]))


if __name__ == "__main__":
    from tests.flows.training_flow import main as started  # the flow's module must have a name

    started()
