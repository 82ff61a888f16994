"""Opens MLflow, and finds a model's experiment in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from registry.buckets import regions

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_client(address: str) -> MlflowClient:
    """A client of the tracking server or database at `address`. Imports mlflow, which takes seconds."""
    import mlflow

    allow_percent()
    mlflow.set_tracking_uri(address)
    return mlflow.MlflowClient(address)


def experiment_id(client: MlflowClient, model: str, address: str, artifacts: str) -> str:
    """The model's experiment, created if there is none. `artifacts`: the address where they go without a server.

    Raises:
        Refused: that is a bucket outside of `s3_regions`.
    """
    if not address.startswith("http"):
        regions.check(artifacts)
    found = client.get_experiment_by_name(model)
    if found is not None:
        return str(found.experiment_id)
    place = None if address.startswith("http") else artifacts
    return str(client.create_experiment(model, artifact_location=place))


def allow_percent() -> None:
    """Lets MLflow find its migrations in an environment whose path contains a `%`. Elsewhere it does nothing.

    Call it before this process opens a database of MLflow's. MLflow 3.17 escapes `%` in the database's address, but not
    in the path of its migrations, where alembic reads it as a placeholder ("invalid interpolation syntax").
    """
    if "%" not in sys.prefix:
        return
    from mlflow.store.db import utils

    folder = utils._get_package_dir()
    if "%%" not in folder:
        utils._get_package_dir = lambda: folder.replace("%", "%%")
