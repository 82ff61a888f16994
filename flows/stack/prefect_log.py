"""How the local Prefect server writes its log. Named in its environment by `flows.stack.layout`."""

from __future__ import annotations

import copy
import logging

from prefect.logging.handlers import PrefectConsoleHandler
from sqlalchemy.exc import SQLAlchemyError

from registry.core.errors import first_line


class BriefHandler(PrefectConsoleHandler):
    """Logs a database failure in one line.

    Prefect logs some seventy: two tracebacks, the statement and its parameters, each time a service finds the database
    locked, although it tries again by itself. Other exceptions keep their tracebacks.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SQLAlchemyError):
            record = copy.copy(record)
            record.msg, record.args = f"{record.getMessage()}: {first_line(error)}", ()
            record.exc_info = record.exc_text = None
        super().emit(record)
