"""The only reader of the environment.

A setting comes from, strongest first: `VISIONLOOP_<NAME>` in the environment, `visionloop.toml` in the
project folder, the default below. Settings are frozen and unknown keys are refused in both places; a Bento ignores them
(`ignore_unknown`).
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.core.errors import SettingsError

logger = logging.getLogger("visionloop.settings")

PREFIX = "VISIONLOOP_"
FILE = "visionloop.toml"

_known_only = False

# Nothing may call home, hang on a hub that is out of reach, or ask whether it may. (DESIGN: offline first.)
OFFLINE_ENV = {
    # OpenMP threads that wait by spinning starve each other on a busy machine. A training step on two cores takes
    # 0.25 s; beside one other busy process 3.7 s by default, 0.6 s with a short spin like this.
    "GOMP_SPINCOUNT": "1000",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 7 by default: minutes of silence when its server is away
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NNCF_TELEMETRY": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_CONFIG_DIR": tempfile.gettempdir(),  # it writes its settings on import; nobody reads them
    "YOLO_AUTOINSTALL": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Settings(BaseModel):
    """Where things are and how much is allowed. Sizes and times carry their unit in the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(description="the project folder: holds dvc.yaml, params.yaml and data/")
    var: Path = Field(description="databases, logs, bundles, reports: everything made while running")

    host: str = "127.0.0.1"
    service_host: str = Field("127.0.0.1", description="what services listen on; they ask nobody for a key")
    home_port: int = Field(8700, ge=1, le=65535, description="the story page and the reports")
    router_port: int = Field(3000, ge=1, le=65535, description="predictions, all models")
    mlflow_port: int = Field(5000, ge=1, le=65535)
    prefect_port: int = Field(4200, ge=1, le=65535)
    drift_port: int = Field(8701, ge=1, le=65535, description="Evidently's workspace UI")

    mlflow_uri: str = Field("", description="default: the local server's address")
    mlflow_backend: str = Field("", description="what the local server stores into; default: SQLite in var")
    prefect_api_url: str = Field("", description="default: the local server's address")
    database_url: str = Field("", description="operational database; default: SQLite in var", repr=False)
    dvc_remote: str = Field("", description="default: a folder in var")

    max_upload_mb: int = Field(512, gt=0, description="largest request body, MiB")
    max_voxels: int = Field(64_000_000, gt=0, description="largest volume or picture that is decoded, voxels or pixels")
    allow_downloads: bool = Field(False, description="whether pretrained weights may be fetched from a framework's hub")
    max_video_s: float = Field(900.0, gt=0, description="longest video that is taken, seconds")
    threads: int = Field(0, ge=0, description="threads per network; 0: as many as there are cores")
    retention_days: float = Field(7.0, ge=0, description="how long inputs of predictions are kept")
    retention_mb: int = Field(2048, ge=0, description="how much room they may take, MiB")
    label_days: float = Field(365.0, ge=0, description="how long labelled inputs are kept, with their labels")
    label_mb: int = Field(4096, ge=0, description="how much room they may take, MiB")
    prediction_days: float = Field(90.0, ge=8, description="how long predictions stay in the database")
    prediction_rows: int = Field(1_000_000, gt=0, description="how many of them stay there at most")
    report_days: float = Field(90.0, gt=0, description="how long drift reports and verdicts are kept")
    report_mb: int = Field(1024, gt=0, description="how much room reports may take, and Evidently's runs as well, MiB")
    journal_mb: int = Field(64, gt=0, description="how large the journal may grow before a new one is begun, MiB")
    spool_mb: int = Field(1024, gt=0, description="how much room predictions that wait for the database may take, MiB")
    decision_pages: int = Field(200, gt=0, description="how many decision pages of a model are kept at most")
    log_mb: int = Field(8, gt=0, description="how large the log of one process may grow before it is cut, MiB")
    request_timeout_s: float = Field(60.0, gt=0)
    max_inputs: int = Field(16, gt=0, description="most files in one request")
    max_waiting: int = Field(
        0, ge=0, description="inputs that may wait in a service; 0: as many as it answers in half of request_timeout_s"
    )
    allow_url_inputs: bool = Field(
        False, description="whether a service may fetch an input from an address it is given"
    )
    require_keys: bool | None = Field(None, description="of callers of the router; unset: unless host is a loopback")
    api_key: str = Field("", description="what this machine's own commands show the router", repr=False)
    quota_per_minute: int = Field(600, ge=0, description="requests of a key without a quota of its own; 0: no limit")
    quota_per_month: int = Field(0, ge=0, description="likewise, per calendar month (UTC)")
    anonymous_per_minute: int = Field(0, ge=0, description="requests of one address without a key; 0: no limit")
    warm_s: int = Field(
        3600, ge=0, description="how long the version before keeps running for an instant rollback, s; 0: not at all"
    )
    monitor_every_s: int = Field(900, gt=0, description="the monitor flow's schedule")
    false_alarm_rate: float = Field(0.05, gt=0, lt=1, description="of one drift verdict")

    @property
    def keys_required(self) -> bool:
        """Whether the router refuses callers without a key."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys

    @property
    def key_headers(self) -> dict[str, str]:
        """What this machine's own commands send to the router."""
        return {"X-API-Key": self.api_key} if self.api_key else {}

    @property
    def mlflow_address(self) -> str:
        return self.mlflow_uri or f"http://{self.host}:{self.mlflow_port}"

    def mlflow_page(self, model: str = "") -> str:
        """What people open: a model's versions, each with its run; without a model the list of them. MLflow's own
        beginning is its view for language models."""
        path = f"/models/{model}" if model else "/models"
        return f"{self.mlflow_address.rstrip('/')}/#{path}?workflowType=machine_learning"

    @property
    def mlflow_store(self) -> str:
        """The database behind the local MLflow server; also used without a server (`--local`)."""
        return self.mlflow_backend or f"sqlite:///{self.var / 'mlflow' / 'mlflow.db'}"

    @property
    def prefect_address(self) -> str:
        return self.prefect_api_url or f"http://{self.host}:{self.prefect_port}/api"

    @property
    def prefect_page(self) -> str:
        """What people open; the address ends in its API's path."""
        return self.prefect_address.rstrip("/").removesuffix("/api")

    @property
    def home_address(self) -> str:
        return f"http://{self.host}:{self.home_port}"

    @property
    def router_address(self) -> str:
        return f"http://{self.host}:{self.router_port}"

    @property
    def drift_address(self) -> str:
        return f"http://{self.host}:{self.drift_port}"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{quote(str(self.var / 'visionloop.db'))}"

    @property
    def remote(self) -> str:
        return self.dvc_remote or str(self.var / "dvc-remote")

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def build(self) -> Path:
        """What the DVC stages make, one folder per model."""
        return self.root / "build"

    def child_environment(self) -> dict[str, str]:
        """The environment for a process that we start: ours, quiet, with every store inside `var`."""
        env = dict(os.environ)
        env.update(OFFLINE_ENV)
        env.update(
            {
                "VISIONLOOP_ROOT": str(self.root),
                "VISIONLOOP_VAR": str(self.var),
                "PREFECT_HOME": str(self.var / "prefect"),
                "PREFECT_API_URL": self.prefect_address,
                "BENTOML_HOME": str(self.var / "bentoml"),
                "MLFLOW_TRACKING_URI": self.mlflow_address,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}",
                "PYTHONUNBUFFERED": "1",
            }
        )
        env.update(_past_the_proxy(env, {"127.0.0.1", "localhost", self.host, self.service_host}))
        return env

    def apply_environment(self) -> None:
        """Gives this process the child environment, before a framework that reads it is imported."""
        os.environ.update(self.child_environment())


def _past_the_proxy(env: Mapping[str, str], hosts: Collection[str]) -> dict[str, str]:
    """What keeps a company's proxy out of the way to our own servers: MLflow's and Prefect's clients would ask it."""
    if not any(env.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    given = [one.strip() for one in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",") if one.strip()]
    told = "*" if "*" in given else ",".join(dict.fromkeys([*given, *sorted(hosts)]))
    return {"no_proxy": told, "NO_PROXY": told}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Names other than localhost are not looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` that holds dvc.yaml, else `start` itself."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    return here


def read_settings(
    environment: dict[str, str] | None = None, root: Path | None = None, *, known_only: bool = False
) -> Settings:
    """Reads the settings anew.

    Args:
        known_only: leave unknown keys out, with a line in the log for each, where they are refused otherwise.

    Raises:
        SettingsError: a key is unknown or a value is of the wrong kind.
    """
    env = dict(os.environ if environment is None else environment)
    given = {k.removeprefix(PREFIX).lower(): v for k, v in env.items() if k.startswith(PREFIX)}
    base = Path(given.pop("root", "") or root or project_root()).resolve()
    values: dict[str, Any] = {**_from_file(base / FILE), **given, "root": base}
    if known_only:
        for name in values.keys() - Settings.model_fields:
            where = f"{PREFIX}{name.upper()}" if name in given else f"{name} in {FILE}"
            logger.warning("%s is ignored: this Bento's code has no such setting", where)
            del values[name]
    values["var"] = (base / Path(values.get("var") or "var")).resolve()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _explain(error) from error


def _from_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path.name} is not TOML: {error}", expected="lines like `router_port = 3000`", fix="correct that line"
        ) from error


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        import difflib

        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return SettingsError(
            f"there is no setting {name!r}",
            expected=", ".join(Settings.model_fields),
            fix=f"{hint}correct it in {FILE} or in the environment ({PREFIX}{name.upper()})",
        )
    return SettingsError(
        f"setting {name!r} is {first.get('input')!r}",
        expected=first["msg"],
        fix=f"correct it in {FILE} or in the environment ({PREFIX}{name.upper()})",
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings, read once."""
    return read_settings(known_only=_known_only)


def ignore_unknown() -> None:
    """Makes this process leave out settings that it does not know, for a Bento: its code may be older than the settings
    around it. Elsewhere a name that is unknown is misspelt."""
    global _known_only
    if not _known_only:
        _known_only = True
        settings.cache_clear()
