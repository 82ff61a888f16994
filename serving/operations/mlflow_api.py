"""Asks MLflow over HTTP for the versions of a model: importing MLflow takes seconds and 200 MB."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from registry.core.errors import MissingService
from registry.core.settings import settings

ANSWER_WITHIN_S = 2.0


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry. `aliases`: champion, challenger, previous."""

    number: int
    made: datetime
    aliases: tuple[str, ...]
    digest: str


def versions(model: str) -> list[RegisteredVersion]:
    """The versions of a model, the newest first; [] where the registry does not know it. Raises MissingService."""
    aliases: dict[int, list[str]] = {}
    for one in _ask("registered-models/get", name=model).get("registered_model", {}).get("aliases", []):
        aliases.setdefault(int(one["version"]), []).append(one["alias"])
    asked = {"filter": f"name='{model}'", "max_results": "200", "order_by": "version_number DESC"}
    found = [
        RegisteredVersion(
            int(one["version"]),
            datetime.fromtimestamp(int(one["creation_timestamp"]) / 1000, UTC),
            tuple(sorted(aliases.get(int(one["version"]), []))),
            {tag["key"]: tag["value"] for tag in one.get("tags", [])}.get("visionloop.digest", ""),
        )
        for one in _ask("model-versions/search", **asked).get("model_versions", [])
    ]
    return sorted(found, key=lambda one: one.number, reverse=True)


def check() -> None:
    """Raises MissingService: it does not answer."""
    _ask("registered-models/search", max_results="1")


def _ask(what: str, **asked: str) -> dict[str, Any]:
    address = f"{settings().mlflow_address.rstrip('/')}/api/2.0/mlflow/{what}"
    try:
        answer = httpx.get(address, params=asked, timeout=ANSWER_WITHIN_S, trust_env=False)
        if answer.status_code == 404:
            return {}
        answer.raise_for_status()
        return dict(answer.json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise MissingService(
            "MLflow does not answer",
            expected=f"its server at {settings().mlflow_address}",
            fix="`visionloop status` says whether it runs",
        ) from error
