"""Which services there are: of which version, where they answer, and whether they are retired."""

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
        pid: of its process, as far as known.
        anyway: why it was released though the gate had not granted it; "" where it had.
        problem: why it could not be started again; "" where it could.
        retired: it is stopped, or being stopped.
    """

    model: str
    version: int
    url: str
    tag: str
    pid: int | None = None
    anyway: str = ""
    problem: str = ""
    retired: bool = False


def announce(model: str, version: int, url: str, tag: str, pid: int | None, *, anyway: str | None = None) -> Endpoint:
    """Says that `version` answers at `url`. It gets no traffic before a plan names it.

    Args:
        anyway: why it is released though the gate did not grant it; None: as it was.
    """
    database.setup()
    from serving.releases.models import Endpoint as Row

    fields = {"url": url.rstrip("/"), "tag": tag, "pid": pid, "announced": datetime.now(UTC), "retired": None}
    fields |= {"problem": ""} if anyway is None else {"problem": "", "anyway": anyway}
    row, _ = Row.objects.update_or_create(model=model, version=version, defaults=fields)
    return _endpoint(row)


def announced(model: str | None = None, *, retired: bool = False) -> Mapping[tuple[str, int], Endpoint]:
    """Every service that is not retired (with `retired`, also where one was the last time), by model and version."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    rows = Row.objects.filter(**({"model": model} if model else {}), **({} if retired else {"retired": None}))
    return {(row.model, row.version): _endpoint(row) for row in rows}


def retire(model: str, version: int) -> None:
    """Says that the service of `version` is gone. The live one can be retired too: the model then answers 503."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(retired=datetime.now(UTC), pid=None)


def note_problem(model: str, version: int, problem: str) -> None:
    """Keeps why the service of `version` could not be started, until it is announced again."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(problem=problem)


def note_anyway(model: str, version: int, anyway: str) -> None:
    """Keeps why a version is released though the gate did not grant it."""
    database.setup()
    from serving.releases.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(anyway=anyway)


def _endpoint(row: object) -> Endpoint:
    names = ("model", "version", "url", "tag", "pid", "anyway", "problem")
    return Endpoint(**{name: getattr(row, name) for name in names}, retired=row.retired is not None)  # type: ignore[attr-defined]
