"""The services: of which version each is, where it answers, and whether it is retired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from registry.core import database


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
    database.setup()
    from serving.releases.models import Endpoint as Row

    fields = {"url": url.rstrip("/"), "tag": tag, "announced": datetime.now(UTC), "retired": None}
    fields |= {"problem": ""} if anyway is None else {"problem": "", "anyway": anyway}
    row, _ = Row.objects.update_or_create(model=model, version=version, defaults=fields)
    return _endpoint(row)


def announced(model: str | None = None, *, retired: bool = False) -> Mapping[tuple[str, int], Endpoint]:
    """Every service by model and version; with `retired`, also those that are stopped."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    rows = Row.objects.filter(**({"model": model} if model else {}), **({} if retired else {"retired": None}))
    return {(row.model, row.version): _endpoint(row) for row in rows}


def note_problem(model: str, version: int, problem: str) -> None:
    """Keeps why the service of `version` could not be started, until it is announced again."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(problem=problem)


def note_anyway(model: str, version: int, anyway: str) -> None:
    """Keeps why a version is released without the gate's grant."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(anyway=anyway)


def _endpoint(row: object) -> Endpoint:
    names = ("model", "version", "url", "tag", "anyway", "problem")
    return Endpoint(**{name: getattr(row, name) for name in names}, retired=row.retired is not None)  # type: ignore[attr-defined]
