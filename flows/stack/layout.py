"""The processes of the stack. What the settings say runs elsewhere is not started here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flows.process import ProcessSpec
from registry.core.errors import NotFound
from registry.core.settings import Settings

KEEPER = "keeper"
DRIFT = "drift-ui"
WEB = "web"
SILENT_S = 600.0
"""A process that only beats may do one long thing between two beats: the keeper deletes a year of predictions."""
HOME = "home"
"""The story page. The supervisor serves it itself, so that it answers first."""


def home(settings: Settings) -> ProcessSpec:
    return ProcessSpec(
        HOME, ("-",), url=settings.home_address, port=settings.home_port, setting="home_port", restart=False
    )


def chosen(settings: Settings, only: Sequence[str]) -> list[ProcessSpec]:
    """The processes named in `only`, or all if it is empty.

    Raises:
        NotFound: a name in `only` is not a process of the stack.
    """
    every = specs(settings)
    known = {HOME, *(spec.name for spec in every)}
    for name in only:
        if name not in known:
            raise NotFound(f"the stack has no process {name!r}", expected=f"some of {', '.join(sorted(known))}")
    return [spec for spec in every if not only or spec.name in only]


def specs(settings: Settings) -> list[ProcessSpec]:
    """The processes that `up` starts beside the story page."""
    found = [_router(settings), _web(settings), _keeper()]
    if not settings.mlflow_uri:
        found.append(_mlflow(settings))
    if not settings.prefect_api_url:
        found.append(_prefect(settings))
    found.append(_worker(settings))
    found.append(_releases())
    found.append(_guard())
    return found


def external(settings: Settings) -> dict[str, str]:
    """Name -> page of each process that runs elsewhere."""
    pages = {
        "mlflow": (settings.mlflow_uri, settings.mlflow_page()),
        "prefect": (settings.prefect_api_url, settings.prefect_page),
    }
    return {name: page for name, (given, page) in pages.items() if given}


def _mlflow(settings: Settings) -> ProcessSpec:
    folder = settings.var / "mlflow"
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "flows.stack.mlflow_server", "--host", settings.host]
    argv += ["--port", str(settings.mlflow_port), "--store", settings.mlflow_store]
    argv += ["--artifacts", settings.mlflow_artifacts or str(folder / "artifacts")]
    address = f"http://{settings.host}:{settings.mlflow_port}"
    return ProcessSpec(
        "mlflow", tuple(argv), ready_url=f"{address}/health", url=settings.mlflow_page(), port=settings.mlflow_port,
        setting="mlflow_port", grace_s=5,
    )  # fmt: skip


def _prefect(settings: Settings) -> ProcessSpec:
    argv = [sys.executable, "-m", "prefect", "server", "start", "--host", settings.host]
    argv += ["--port", str(settings.prefect_port), "--log-level", "WARNING", "--analytics-off"]
    address = f"http://{settings.host}:{settings.prefect_port}"
    return ProcessSpec(
        "prefect",
        tuple(argv),
        env={
            # Prefect sets WAL and a busy timeout of 60 s itself, but gives up on a statement after 10 s and on a
            # connection after 5 s. A training on all cores can delay it for longer.
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
            "PREFECT_UI_API_URL": f"{address}/api",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "flows.stack.prefect_log.BriefHandler",
        },
        ready_url=f"{address}/api/health",
        url=address,
        port=settings.prefect_port,
        setting="prefect_port",
        grace_s=5,
    )


def router_grace_s(settings: Settings) -> float:
    """Longer than the router itself waits for its requests (serving.launchers.router)."""
    return settings.request_timeout_s + 5


def _router(settings: Settings) -> ProcessSpec:
    return ProcessSpec(
        "router",
        (sys.executable, "-m", "serving.launchers.router"),
        ready_url=f"{settings.router_address}/healthz",
        url=f"{settings.router_address}/docs",
        port=settings.router_port,
        setting="router_port",
        grace_s=router_grace_s(settings),
    )


def _web(settings: Settings) -> ProcessSpec:
    """Requires no process: its pages say so where the router is away."""
    return ProcessSpec(
        WEB,
        (sys.executable, "-m", "serving.launchers.web"),
        ready_url=f"http://{settings.host}:{settings.web_port}/healthz",
        url=f"{settings.web_address}/",
        port=settings.web_port,
        setting="web_port",
        grace_s=15,
    )


def _worker(settings: Settings) -> ProcessSpec:
    requires = () if settings.prefect_api_url else ("prefect",)
    # A busy SQLite makes Prefect's server answer 503. Its client then asks again, 5 times by default.
    env = {"PREFECT_CLIENT_MAX_RETRIES": "10"}
    argv = (sys.executable, "-m", "flows.orchestration.worker")
    return ProcessSpec("flows", argv, env, requires=requires, grace_s=8, beats=True, hung_s=SILENT_S)


def _releases() -> ProcessSpec:
    """Waits until the guard has started the services of the release plans, then ends."""
    return ProcessSpec(
        "releases", (sys.executable, "-m", "flows.stack.wait_for_services"), requires=("router",), restart=False
    )


def _keeper() -> ProcessSpec:
    """Requires no process, and none requires it: it reads the log from disk."""
    return ProcessSpec(KEEPER, (sys.executable, "-m", "serving.launchers.keeper"), beats=True, hung_s=SILENT_S)


def _guard() -> ProcessSpec:
    """Starts and stops services as the release plans say, and watches the plans."""
    argv = (sys.executable, "-m", "flows.orchestration.guard")
    return ProcessSpec("guard", argv, requires=("router",), beats=True, hung_s=SILENT_S)


def drift(settings: Settings) -> ProcessSpec:
    """Evidently's UI. It takes a while to import, so it is started only on request."""
    workspace = settings.var / "evidently"
    workspace.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "evidently.cli", "ui", "--workspace", str(workspace)]
    argv += ["--host", "127.0.0.1", "--port", str(settings.drift_port)]
    address = settings.drift_address
    return ProcessSpec(
        DRIFT, tuple(argv), ready_url=address, url=address, port=settings.drift_port, setting="drift_port"
    )
