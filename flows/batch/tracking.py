"""Writes fitted components down as a run of MLflow, in the model's experiment."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.batch import spaces
from flows.batch.run import BatchVersion
from flows.batch.spaces import Space
from registry.core.settings import settings
from registry.versions.mlflow_client import experiment_id, open_client


def track_space(space: Space, version: BatchVersion, source: str, engine: str) -> str:
    """Parameters, the explained variance by component, the plot and the components. Returns the run's id."""
    from mlflow.entities import Metric, Param

    address = settings().mlflow_address
    client = open_client(address)
    experiment = experiment_id(client, version.model, address, settings().mlflow_artifacts)
    run = client.create_run(experiment, run_name="featurize --pca", tags={"visionloop.version": str(version)})
    count, started = len(space.components), run.info.start_time
    params = {"version": str(version), "source": source, "engine": engine, "components": count}
    total = 0.0
    metrics = []
    for number, share in enumerate(space.explained, 1):
        total += float(share)
        metrics.append(Metric("explained_variance", total, started, number))
    for first in range(0, len(metrics), 1000):  # the API's most for one request
        client.log_batch(run.info.run_id, metrics[first : first + 1000])
    client.log_batch(run.info.run_id, params=[Param(name, str(value)[:500]) for name, value in params.items()])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in ((spaces.PLOT, spaces.draw(space)), (spaces.MODEL, space.to_bytes())):
            path = Path(folder, Path(name).name)
            path.write_bytes(content)
            client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
