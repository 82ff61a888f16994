"""The models of the catalog in the reader's language. A model that has no translation stays as it is written."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from django.utils.translation import get_language, pgettext

from registry.contract import catalog
from registry.contract.spec import ModelSpec


def get(name: str) -> ModelSpec:
    """As `registry.contract.catalog.get`, with title, caution and the metric's title translated. Raises NotFound."""
    return translated(catalog.get(name))


def all_specs() -> list[ModelSpec]:
    return [translated(spec) for spec in catalog.all_specs()]


def title(name: str) -> str:
    """The title of a model; its name where there is no such model any more."""
    return get(name).title if name in catalog.names() else name


def class_name(name: str) -> str:
    """A class's name for people: "yellow vest" of `yellow_vest`."""
    return _class_name(name, get_language()) if name else ""


@lru_cache(maxsize=4096)
def _class_name(name: str, language: str | None) -> str:
    """`language`: the one that is active, in which it is looked up. A page of a detector names 80 classes twice."""
    return pgettext("class", name).replace("_", " ")


def translated(spec: ModelSpec) -> ModelSpec:
    metric = replace(spec.metric, title=_text(spec.metric.title))
    return replace(spec, title=_text(spec.title), caution=_text(spec.caution), metric=metric)


def _text(text: str) -> str:
    return pgettext("model", text) if text else ""
