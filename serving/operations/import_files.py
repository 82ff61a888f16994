"""The zips in `var/imports`, each of which waits for the run that takes it in, and their end.

The run deletes its zip. That of a run which was cancelled before it began, or whose process died, and a zip that no run
was asked for, because the web application's process died in between, are deleted here.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path

from registry.core.errors import MissingService
from registry.core.settings import settings
from serving.operations import prefect_api

UNUSED_S = 3600.0
"""How long a zip is kept that no run waits for. One that is still being received changes all the time."""
MOST_S = 7 * 86400.0
"""How long any zip is kept, also where Prefect says that its run is not over, or does not answer."""
MOST_RUNS = 200

logger = logging.getLogger("visionloop.imports")


def folder() -> Path:
    return settings().var / "imports"


def new_path() -> Path:
    """Where the next zip goes."""
    return folder() / f"{secrets.token_hex(8)}.zip"


def prune(now: float | None = None) -> list[str]:
    """Deletes the zips that nothing waits for any more. Returns their names. Asks Prefect only where one is old."""
    when = time.time() if now is None else now
    ages = {}
    for path in folder().glob("*"):
        with suppress(OSError):  # its run has deleted it meanwhile
            ages[path] = when - path.stat().st_mtime
    old = [path for path, age in ages.items() if age > UNUSED_S]
    if not old:
        return []
    try:
        awaited = {one.parameters.get("path") for one in prefect_api.runs(MOST_RUNS, only_open=True)}
    except MissingService:
        awaited = {str(path) for path in old}
    gone = [path for path in old if str(path) not in awaited or ages[path] > MOST_S]
    for path in gone:
        path.unlink(missing_ok=True)
        logger.info("deleted %s: no run took it in", path)
    return [path.name for path in gone]
