"""The champion of each model, asked of MLflow over HTTP, because importing MLflow takes seconds."""

from __future__ import annotations

from registry.core.settings import settings
from registry.versions.mlflow_registry import CHAMPION


def champions(timeout_s: float = 2.0) -> dict[str, int] | None:
    """Model -> number of its champion. None if MLflow does not answer in time."""
    import httpx

    try:
        answer = httpx.get(
            f"{settings().mlflow_address}/api/2.0/mlflow/registered-models/search", timeout=timeout_s, trust_env=False
        )
        answer.raise_for_status()
        models = answer.json().get("registered_models", [])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    found: dict[str, int] = {}
    for model in models:
        for alias in model.get("aliases", []):
            if alias.get("alias") == CHAMPION:
                found[model["name"]] = int(alias["version"])
    return found
