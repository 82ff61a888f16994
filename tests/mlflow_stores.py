"""MLflow without a server, its database laid out once: the migrations take a second and more."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from registry.versions.mlflow_client import allow_percent


def empty_store(path: Path) -> str:
    """Writes a database without runs and versions, where there is no file yet; returns its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_laid_out())
    return f"sqlite:///{path}"


@functools.cache
def _laid_out() -> bytes:
    from mlflow import MlflowClient

    allow_percent()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_registered_models()
        with closing(sqlite3.connect(path)) as database:
            return database.serialize()
