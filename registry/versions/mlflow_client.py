"""Opens MLflow, and finds a model's experiment in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_client(address: str) -> MlflowClient:
    """A client of the tracking server or database at `address`. Imports mlflow, which takes seconds."""
    import mlflow

    allow_percent()
    mlflow.set_tracking_uri(address)
    return mlflow.MlflowClient(address)


def experiment_id(client: MlflowClient, model: str, address: str, artifacts: Path) -> str:
    """The model's experiment, created if there is none. `artifacts`: where they go without a server."""
    found = client.get_experiment_by_name(model)
    if found is not None:
        return str(found.experiment_id)
    place = None if address.startswith("http") else artifacts.as_uri()
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
