"""The services: of which version each is, where it answers, and whether it is retired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from registry.core import database

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.releases.models import Endpoint as Row


@dataclass(frozen=True)
class Endpoint:
    """A service of one version.

    Attributes:
        url: without a slash at the end.
        tag: of its Bento.
        anyway: why it was released without the gate's grant; "" where the gate granted it.
        problem: why it could not be started again; "" where there is none.
        retired: it is stopped, or being stopped.
    """

    model: str
    version: int
    url: str
    tag: str
    anyway: str = ""
    problem: str = ""
    retired: bool = False


def announce(model: str, version: int, url: str, tag: str, *, anyway: str | None = None) -> Endpoint:
    """Notes that `version` answers at `url`. It gets no traffic before a plan names it.

    Args:
        anyway: why it is released without the gate's grant; None keeps what is noted.
    """
    fields = {"url": url.rstrip("/"), "tag": tag, "announced": datetime.now(UTC), "retired": None}
    fields |= {"problem": ""} if anyway is None else {"problem": "", "anyway": anyway}
    row, _ = _rows().update_or_create(model=model, version=version, defaults=fields)
    return _endpoint(row)


def announced(model: str | None = None, *, retired: bool = False) -> Mapping[tuple[str, int], Endpoint]:
    """Every service by model and version; with `retired`, also those that are stopped."""
    rows = _rows().filter(**({"model": model} if model else {}), **({} if retired else {"retired": None}))
    return {(row.model, row.version): _endpoint(row) for row in rows}


def note_problem(model: str, version: int, problem: str) -> None:
    """Keeps why the service of `version` could not be started, until it is announced again."""
    _rows().filter(model=model, version=version).update(problem=problem)


def note_anyway(model: str, version: int, anyway: str) -> None:
    """Keeps why a version is released without the gate's grant."""
    _rows().filter(model=model, version=version).update(anyway=anyway)


def _rows() -> QuerySet[Row]:
    database.setup()
    from serving.releases.models import Endpoint as Row

    return Row.objects.all()


def _endpoint(row: Row) -> Endpoint:
    names = ("model", "version", "url", "tag", "anyway", "problem")
    return Endpoint(**{name: getattr(row, name) for name in names}, retired=row.retired is not None)
