"""Runs a flow in this process, recorded by the Prefect server."""

from __future__ import annotations

import os
from typing import Any

from registry.core.errors import MissingService, VisionloopError, first_line
from registry.core.settings import settings


def run_flow(name: str, **parameters: Any) -> str:
    """Runs the flow `loop`, `monitor` or `retrain`, and returns its result in words.

    Raises:
        MissingService: the Prefect server does not answer.
        VisionloopError: what the flow raised.
    """
    from flows import steps

    settings().apply_environment()
    # The terminal gets the journal; Prefect's own lines are in its UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    steps.wait_for(f"{settings().prefect_address}/health", "prefect", 60)
    from prefect.exceptions import PrefectException

    from flows.orchestration import flows

    chosen = {
        "loop": flows.loop_flow,
        "monitor": flows.monitor_flow,
        "retrain": flows.retrain_flow,
    }[name]
    try:
        return str(chosen(**parameters))
    except VisionloopError:
        raise
    except (PrefectException, RuntimeError) as error:
        # Prefect's client raises a plain RuntimeError when the server goes away between two requests.
        if isinstance(error, RuntimeError) and "reach API" not in str(error):
            raise
        raise MissingService(
            f"Prefect could not run the flow: {first_line(error)}",
            expected=f"a Prefect server at {settings().prefect_address}",
            fix="`visionloop status` says whether it is up; or add --local",
        ) from error
