"""Opens MLflow, and finds a model's experiment in it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from registry.buckets import regions

if TYPE_CHECKING:
    from mlflow import MlflowClient


_making = threading.Lock()


def open_client(address: str) -> MlflowClient:
    """A client of the tracking server or database at `address`. Imports mlflow, which takes seconds."""
    import mlflow

    allow_percent()
    make_store(address)
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


def make_store(address: str) -> None:
    """Makes the tables of a SQLite database that is not there yet; for any other address it does nothing.

    MLflow's own way is some fifty migrations on the file itself, and none goes on from its middle: a process that is
    killed meanwhile leaves a database that no later one can open. So they run on a file beside it, linked when done.
    """
    if not address.startswith("sqlite:///"):
        return
    path = Path(address.removeprefix("sqlite:///"))
    with _making:
        if not path.exists():
            _make_whole(path)


def _make_whole(path: Path) -> None:
    import psutil
    from mlflow.store.db import utils

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)  # of a killed process with the same id: in a container it is the same each time
    for old in path.parent.glob(f"{path.name}.*.draft"):
        pid = old.suffixes[-2][1:]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):  # killed
            old.unlink(missing_ok=True)
    try:
        engine = utils.create_sqlalchemy_engine(f"sqlite:///{draft}")
        try:
            utils._initialize_tables(engine)
        finally:
            engine.dispose()
        with suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
