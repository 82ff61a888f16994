"""Environment variables for libraries, in this process and in those it starts."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping

OFFLINE_ENV = {
    # Spinning OpenMP threads starve each other. Beside one busy process on two cores a training step takes 3.7 s by
    # default and 0.6 s with this short spin; alone it takes 0.25 s.
    "GOMP_SPINCOUNT": "1000",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default of 7 waits for minutes when the server is away
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
    "YOLO_CONFIG_DIR": tempfile.gettempdir(),  # it writes settings on import that nobody reads
    "YOLO_AUTOINSTALL": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Offline first: no library may send telemetry, wait for a hub that is out of reach, or update itself."""


def proxy_exemptions(env: Mapping[str, str], hosts: Collection[str]) -> dict[str, str]:
    """Exempts our own servers from a company's proxy, which MLflow's and Prefect's clients would use."""
    if not any(env.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    names = [name.strip() for name in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",") if name.strip()]
    exempt = "*" if "*" in names else ",".join(dict.fromkeys([*names, *sorted(hosts)]))
    return {"no_proxy": exempt, "NO_PROXY": exempt}
