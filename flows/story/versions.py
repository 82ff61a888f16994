"""Which version of each model is live, and which is MLflow's champion."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flows import champions
from registry.contract import catalog
from registry.core.errors import VisionloopError
from registry.core.settings import Settings
from serving.client import Client

ROUTER_EVERY_S, MLFLOW_EVERY_S = 3.0, 10.0
"""How often they are asked while a browser looks."""


@dataclass(frozen=True)
class ModelVersions:
    """The versions of one model.

    Attributes:
        live, champion: numbers; None where there is none, or nobody answers.
        mlflow: whether MLflow answered.
        url: of the live version's API page; "" without one.
        anyway: why the live version was released without the gate's grant; "" where it has the grant.
    """

    name: str
    live: int | None = None
    champion: int | None = None
    mlflow: bool = False
    url: str = ""
    anyway: str = ""

    @property
    def words(self) -> str:
        live = f"version {self.live} is live" if self.live else "no live version"
        if not self.mlflow:
            return live
        if self.champion is None:
            return f"{live}; MLflow has no champion" if self.live else live
        if self.champion == self.live:
            return f"{live} and MLflow's champion"
        return f"{live}; MLflow's champion is version {self.champion}"


class Versions:
    """Asks the router and MLflow, and remembers their answers for a few seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = {"router": float("-inf"), "mlflow": float("-inf")}
        self._live: Mapping[str, int] = {}
        self._champions: Mapping[str, int] | None = None

    def all(self) -> list[ModelVersions]:
        """All models, in the catalog's order."""
        if self._due("router", ROUTER_EVERY_S):
            self._live = self._ask_router()
        if self._due("mlflow", MLFLOW_EVERY_S):
            self._champions = champions.champions(timeout_s=1.0)
        base, found = self._settings.router_address, self._champions
        return [
            ModelVersions(
                name,
                self._live.get(name),
                (found or {}).get(name),
                found is not None,
                f"{base}/v1/models/{name}/docs" if name in self._live else "",
            )
            for name in catalog.names()
        ]

    def _due(self, whom: str, every_s: float) -> bool:
        if time.monotonic() - self._asked[whom] < every_s:
            return False
        self._asked[whom] = time.monotonic()
        return True

    def _ask_router(self) -> Mapping[str, int]:
        address = self._settings.router_address
        try:
            with Client(address, timeout_s=1.0, patience_s=0, trust_env=False) as client:
                return {one.name: one.version for one in client.models() if one.version}
        except (VisionloopError, ValueError, LookupError, TypeError):  # nobody is there, or somebody else
            return {}


def of_story(
    models: Sequence[ModelVersions], model: str, anyway: Mapping[tuple[str, int], str], begun: bool
) -> list[ModelVersions]:
    """The rows to show: every model before anything has run, and then those with a version and the story's own."""
    shown = [one for one in models if not begun or one.live or one.champion or one.name == model]
    return [replace(one, anyway=anyway.get((one.name, one.live or 0), "")) for one in shown]
