"""The local Prefect server's log, written by Prefect's own logging with the environment that the stack gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.stack.layout import specs
from registry.core.settings import settings

FAILURES = """
import logging
import sqlite3

from prefect.logging.configuration import setup_logging
from sqlalchemy import create_engine, text

setup_logging()
logger = logging.getLogger("prefect.server.services.scheduler")
try:
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT no_such_column" + ", 1" * 50))
except Exception:
    logger.exception("Error in step %d", 3)
try:
    raise ValueError("a defect")
except Exception:
    logger.exception("Error in step %d", 4)
"""


def test_a_failure_of_the_database_is_one_line_and_a_defect_keeps_its_traceback(workspace: Path) -> None:
    spec = next(one for one in specs(settings()) if one.name == "prefect")
    env = {**os.environ, **spec.env, "PREFECT_LOGGING_COLORS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FAILURES], env=env, capture_output=True, text=True, timeout=100, check=True
    )
    first, *rest = done.stderr.splitlines()
    assert "Error in step 3: (sqlite3.OperationalError) no such column" in first
    assert "Error in step 4" in rest[0]
    assert "Traceback" in rest[1]
    assert rest[-1] == "ValueError: a defect"
    assert "SELECT" not in done.stderr
