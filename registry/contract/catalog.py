"""Finds the models. Adding one is adding a folder; there is no list to edit."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path

from registry.contract.spec import ModelSpec
from registry.core.errors import NotFound, did_you_mean

FOLDER = Path(__file__).parents[1] / "models"


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The model names, sorted."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/__init__.py")))


def get(name: str) -> ModelSpec:
    """The spec of one model.

    Raises:
        NotFound: there is no such model; close names are suggested.
    """
    if name not in names():
        raise NotFound(
            f"there is no model {name!r}",
            expected=f"one of {', '.join(names())}",
            fix=did_you_mean(name, names(), "`visionloop models` lists them"),
        )
    spec = importlib.import_module(f"registry.models.{name}").SPEC
    if not isinstance(spec, ModelSpec) or spec.name != name:
        raise TypeError(f"registry/models/{name}/__init__.py must define SPEC, a ModelSpec named {name!r}")
    return spec


def all_specs() -> list[ModelSpec]:
    return [get(name) for name in names()]
