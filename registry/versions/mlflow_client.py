"""MLflow below a folder with a `%` in its name."""

from __future__ import annotations

import sys


def allow_percent() -> None:
    """Lets MLflow's migrations be found where the environment's path has a `%`. Call it before a database of MLflow's
    is opened in this process; elsewhere it does nothing and imports nothing.

    MLflow 3.17 escapes `%` in the database's address, but not in the path of its own migrations, and alembic takes it
    for the beginning of a placeholder ("invalid interpolation syntax").
    """
    if "%" not in sys.prefix:
        return
    from mlflow.store.db import utils

    folder = utils._get_package_dir()
    if "%%" not in folder:
        utils._get_package_dir = lambda: folder.replace("%", "%%")
