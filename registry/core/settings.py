"""Settings. No other module reads them from the environment.

A setting comes from `VISIONLOOP_<NAME>` in the environment, else from `visionloop.toml` in the project folder, else it
is the default below. Unknown keys are refused in both places; a Bento ignores them (`ignore_unknown`). By hand:
pydantic-settings does not refuse unknown environment variables, and does not say how to fix a value.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from registry.core.child_environment import OFFLINE_ENV, proxy_exemptions
from registry.core.settings_texts import FILE, PREFIX, settings_error, values_of_file
from registry.core.settings_values import (
    EU_REGIONS,
    are_origins,
    are_regions,
    bucket_address,
    is_an_origin,
    is_encryption,
    list_of,
)

logger = logging.getLogger("visionloop.settings")


_known_only = False


class Settings(BaseModel):
    """Places and limits. Names of sizes and times end with their unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(description="the project folder: holds dvc.yaml, params.yaml and data/")
    var: Path = Field(description="databases, logs, bundles, reports: everything that is made at run time")

    host: str = "127.0.0.1"
    service_host: str = Field("127.0.0.1", description="the address that services listen on; they ask for no key")
    home_port: int = Field(8700, ge=1, le=65535, description="the story page and the reports, for this machine only")
    router_port: int = Field(3000, ge=1, le=65535, description="predictions, all models")
    web_port: int = Field(8600, ge=1, le=65535, description="the web application: gallery, accounts, back office")
    mlflow_port: int = Field(5000, ge=1, le=65535)
    prefect_port: int = Field(4200, ge=1, le=65535)
    drift_port: int = Field(8701, ge=1, le=65535, description="Evidently's workspace UI")
    prometheus_port: int = Field(9090, ge=1, le=65535, description="Prometheus, of `visionloop up --with-metrics`")

    mlflow_uri: str = Field("", description="default: the local server's address")
    mlflow_backend: str = Field("", description="the local server's database; default: SQLite in var")
    prefect_api_url: str = Field("", description="default: the local server's address")
    web_url: str = Field("", description="public address of the web application; https switches on secure cookies")
    sign_up: bool = Field(True, description="whether people may make accounts themselves")
    office_second_factor: bool = Field(False, description="whether the back office lets in only a second factor")
    smtp_url: str = Field("", description="mail server; without one letters are written into var/mail", repr=False)
    mail_from: str = Field("", description="the address that letters come from; default: visionloop@localhost")
    administrator_email: str = Field("", description="where messages go; default: to every administrator")
    gallery_open: bool = Field(True, description="whether people without an account may look at models and examples")
    database_url: str = Field("", description="operational database; default: SQLite in var", repr=False)
    dvc_remote: str = Field("", description="default: a folder in var")
    spark_master: str = Field("", description="where --engine spark runs; default: this machine")
    mlflow_artifacts: str = Field("", description="the local MLflow server's artifacts; default: a folder in var")
    s3_regions: str = Field(
        EU_REGIONS, description="where buckets may be: regions, or hosts of other services; * is any"
    )
    s3_encryption: str = Field("AES256", description="what writes to S3 ask for: AES256, aws:kms, aws:kms:KEY, or none")
    encryption_key: str = Field("", description="keys that encrypt what is kept; the first wraps, all read", repr=False)
    encryption_key_file: str = Field("", description="a file with them; default: encryption.key in var, made by itself")

    max_upload_mb: int = Field(512, gt=0, description="largest request body, MiB")
    max_voxels: int = Field(64_000_000, gt=0, description="largest volume or picture that is decoded, voxels or pixels")
    allow_downloads: bool = Field(False, description="whether pretrained weights may be fetched from a framework's hub")
    max_video_s: float = Field(900.0, gt=0, description="longest video, seconds")
    threads: int = Field(0, ge=0, description="threads per network; 0: as many as there are cores")
    retention_days: float = Field(7.0, ge=0, description="how long inputs of predictions are kept")
    retention_mb: int = Field(2048, ge=0, description="most space for them, MiB")
    label_days: float = Field(365.0, ge=0, description="how long labelled inputs are kept, with their labels")
    label_mb: int = Field(4096, ge=0, description="most space for them, MiB")
    prediction_days: float = Field(90.0, ge=8, description="how long predictions stay in the database")
    prediction_rows: int = Field(1_000_000, gt=0, description="most predictions in the database")
    answers_mb: int = Field(1024, ge=0, description="most space for the answers of predictions in the database, MiB")
    report_days: float = Field(90.0, gt=0, description="how long drift reports and verdicts are kept")
    report_mb: int = Field(1024, gt=0, description="most space for reports, and likewise for Evidently's runs, MiB")
    journal_mb: int = Field(64, gt=0, description="size at which a new journal is started, MiB")
    spool_mb: int = Field(1024, gt=0, description="most space for predictions that wait for the database, MiB")
    decision_pages: int = Field(200, gt=0, description="most decision pages of a model")
    log_mb: int = Field(8, gt=0, description="size at which the log of a process is cut, MiB")
    request_timeout_s: float = Field(60.0, gt=0)
    max_inputs: int = Field(16, gt=0, description="most inputs in one request")
    max_waiting: int = Field(
        0, ge=0, description="most inputs that wait in a service; 0: as many as it answers in half of request_timeout_s"
    )
    allow_url_inputs: bool = Field(
        False, description="whether a service may fetch an input from an address that a caller sends"
    )
    require_keys: bool | None = Field(
        None, description="whether callers of the router need a key; default: unless host is a loopback address"
    )
    api_key: str = Field("", description="the key that this machine's own commands send to the router", repr=False)
    quota_per_minute: int = Field(600, ge=0, description="requests of a key that has no quota of its own; 0: no limit")
    quota_per_month: int = Field(0, ge=0, description="the same per calendar month (UTC)")
    anonymous_per_minute: int = Field(0, ge=0, description="requests of one address without a key; 0: no limit")
    cors_origins: str = Field(
        "", description="origins whose pages may call the router from a browser, with commas between; * is any"
    )
    webhook_private_addresses: bool = Field(
        False, description="whether webhooks may call http, and addresses that are not public"
    )
    public_url: str = Field("", description="the router's address as its callers know it; default: host and port")
    warm_s: int = Field(
        3600,
        ge=0,
        description="how long the previous version stays warm for an instant rollback, seconds; 0: not at all",
    )
    monitor_every_s: int = Field(900, gt=0, description="how often the monitor flow runs, seconds")
    watts_per_core: float = Field(0.0, ge=0, description="for an estimate of energy where none is measured, watts")
    false_alarm_rate: float = Field(0.05, gt=0, lt=1, description="how often a drift verdict may be wrong by chance")

    _origins = field_validator("cors_origins")(are_origins)
    _origin = field_validator("public_url")(is_an_origin)
    _regions = field_validator("s3_regions")(are_regions)
    _encryption = field_validator("s3_encryption")(is_encryption)
    _bucket = field_validator("mlflow_artifacts")(bucket_address)

    @property
    def origins(self) -> list[str]:
        """`cors_origins` as a list."""
        return list_of(self.cors_origins)

    @property
    def public_address(self) -> str:
        """The router's address for documents and messages to callers."""
        return self.public_url or self.router_address

    @property
    def keys_required(self) -> bool:
        """Whether the router refuses callers without a key."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys

    @property
    def key_headers(self) -> dict[str, str]:
        """HTTP headers of this machine's own commands for the router."""
        return {"X-API-Key": self.api_key} if self.api_key else {}

    @property
    def mlflow_address(self) -> str:
        return self.mlflow_uri or f"http://{self.host}:{self.mlflow_port}"

    def mlflow_page(self, model: str = "") -> str:
        """The page of a model's versions, or of all models. MLflow's own start page is its view for language models."""
        path = f"/models/{model}" if model else "/models"
        return f"{self.mlflow_address.rstrip('/')}/#{path}?workflowType=machine_learning"

    @property
    def mlflow_store(self) -> str:
        """The database of the local MLflow server; `--local` uses it without a server."""
        return self.mlflow_backend or f"sqlite:///{self.var / 'mlflow' / 'mlflow.db'}"

    @property
    def artifact_store(self) -> str:
        """Where the local MLflow server keeps artifacts, and a store without a server: an address."""
        return self.mlflow_artifacts or (self.var / "mlflow" / "artifacts").as_uri()

    @property
    def prefect_address(self) -> str:
        return self.prefect_api_url or f"http://{self.host}:{self.prefect_port}/api"

    @property
    def prefect_page(self) -> str:
        """Prefect's page for people: its address without the API's path."""
        return self.prefect_address.rstrip("/").removesuffix("/api")

    @property
    def home_address(self) -> str:
        return f"http://{self.host}:{self.home_port}"

    @property
    def router_address(self) -> str:
        return f"http://{self.host}:{self.router_port}"

    @property
    def web_address(self) -> str:
        return (self.web_url or f"http://{self.host}:{self.web_port}").rstrip("/")

    @property
    def drift_address(self) -> str:
        """Evidently's UI asks nobody who they are, and its reports describe people's inputs: for this machine only."""
        return f"http://127.0.0.1:{self.drift_port}"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{quote(str(self.var / 'visionloop.db'))}"

    @property
    def encryption_key_path(self) -> Path:
        """The key file, unless `encryption_key` is set."""
        return self.root / self.encryption_key_file if self.encryption_key_file else self.var / "encryption.key"

    @property
    def remote(self) -> str:
        return self.dvc_remote or str(self.var / "dvc-remote")

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def build(self) -> Path:
        """Outputs of the DVC stages, one folder per model."""
        return self.root / "build"

    def child_environment(self) -> dict[str, str]:
        """The environment for child processes: ours, with `OFFLINE_ENV` and every store inside `var`."""
        env = {"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "5"} | os.environ | OFFLINE_ENV
        env |= {
            "VISIONLOOP_ROOT": str(self.root),
            "VISIONLOOP_VAR": str(self.var),
            "PREFECT_HOME": str(self.var / "prefect"),
            "PREFECT_API_URL": self.prefect_address,
            "BENTOML_HOME": str(self.var / "bentoml"),
            "MLFLOW_TRACKING_URI": self.mlflow_address,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
        }
        return env | proxy_exemptions(env, {"127.0.0.1", "localhost", self.host, self.service_host})

    def apply_environment(self) -> None:
        """Gives this process the child environment. Call it before importing a framework that reads it."""
        os.environ.update(self.child_environment())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; names are not resolved."""
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
    """Reads the settings.

    Args:
        known_only: ignore unknown keys, with a line in the log for each, instead of refusing them.

    Raises:
        SettingsError: a key is unknown, or a value is wrong.
    """
    env = dict(os.environ if environment is None else environment)
    given = {k.removeprefix(PREFIX).lower(): v for k, v in env.items() if k.startswith(PREFIX)}
    base = Path(given.pop("root", "") or root or project_root()).resolve()
    values: dict[str, Any] = {**values_of_file(base / FILE), **given, "root": base}
    if known_only:
        for name in values.keys() - Settings.model_fields:
            where = f"{PREFIX}{name.upper()}" if name in given else f"{name} in {FILE}"
            logger.warning("%s is ignored: this Bento's code has no such setting", where)
            del values[name]
    values["var"] = (base / Path(values.get("var") or "var")).resolve()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise settings_error(error, Settings.model_fields) from error


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return read_settings(known_only=_known_only)


def ignore_unknown() -> None:
    """Makes this process ignore unknown settings, as a Bento does: its code may be older than the settings."""
    global _known_only
    if not _known_only:
        _known_only = True
        settings.cache_clear()
