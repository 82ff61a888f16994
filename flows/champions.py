"""Versions of the registry for rooms above: the champions' numbers, and a version that predicts in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.core.settings import settings
from registry.versions.mlflow_registry import CHAMPION, Versions

if TYPE_CHECKING:
    from registry.versions.predictor import Predictor


def champions(timeout_s: float = 2.0) -> dict[str, int] | None:
    """Model -> number of its champion. None if MLflow does not answer in time."""
    found = aliases(timeout_s)
    return None if found is None else {name: one[CHAMPION] for name, one in found.items() if CHAMPION in one}


def aliases(timeout_s: float = 2.0) -> dict[str, dict[str, int]] | None:
    """Model -> alias -> number of the version. None if MLflow does not answer in time.

    Asks over HTTP, because importing MLflow takes seconds.
    """
    import httpx

    try:
        answer = httpx.get(
            f"{settings().mlflow_address}/api/2.0/mlflow/registered-models/search", timeout=timeout_s, trust_env=False
        )
        answer.raise_for_status()
        models = answer.json().get("registered_models", [])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return {model["name"]: {one["alias"]: int(one["version"]) for one in model.get("aliases", [])} for model in models}


def load_predictor(model: str, version: str | int = CHAMPION) -> Predictor:
    """A version that predicts in this process. Raises NotFound, BundleError."""
    from registry.versions.predictor import Predictor

    versions = Versions()
    bundle = versions.fetch(versions.get(model, version))
    return Predictor(bundle, settings().threads, settings().max_voxels)
