"""Replaces a model's data set by starter data, or by a user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.steps import data_versions
from flows.steps.data import has_data, synthesise
from flows.steps.data_versions import DataVersion
from flows.steps.locks import exclusive
from registry.cases.records import ImportResult
from registry.contract import catalog
from registry.core import archives, journal
from registry.core.errors import Refused
from registry.core.files import new_folder
from registry.core.settings import settings


@contextmanager
def data_set(model: str, force: bool, title: str, usually_s: float | None = None) -> Iterator[None]:
    """A step of the journal that replaces the model's data set. `force`: also where there is one.

    Raises:
        Refused: there is one. It says so before it waits for another run of the model, and after.
    """
    _may_replace(model, force)
    with exclusive(model):
        _may_replace(model, force)
        with journal.step("data", title, model, usually_s):
            yield


def _may_replace(model: str, force: bool) -> None:
    if has_data(model) and not force:
        raise Refused(
            f"there is a data set at {settings().data / model} already",
            expected="an empty place",
            fix="add --force to replace it; the old one stays in DVC's cache under the hash in data.dvc",
        )


def draw(model: str) -> DataVersion:
    """Draws the starter data, and versions it."""
    synthesise(model)
    return data_versions.add(model)


def import_from(model: str, source: Path, params: Mapping[str, Any]) -> tuple[ImportResult, DataVersion]:
    """Copies a folder's or zip's data in as `DataPart.import_from` does, if the data checks pass, and versions it.

    Raises:
        DataError: it cannot be used, or a check fails. Nothing is replaced.
    """
    from monitoring.checks import validate

    with archives.as_folder(source) as folder, new_folder(settings().data / model) as draft:
        taken = catalog.get(model).data.import_from(folder, draft, params)
        if taken.train or taken.val or taken.test:
            validation = validate.validate(model, draft)
            if validation.breaches:
                raise validate.explain(validation)
    return taken, data_versions.add(model)
