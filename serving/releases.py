"""Which services there are and which version of each model gets the traffic: the tables behind the router."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from registry import database
from registry.errors import NotFound


@dataclass(frozen=True)
class Endpoint:
    """A service of one version.

    Attributes:
        url: without a slash at the end.
        tag: of its Bento.
        pid: of its process, as far as known.
    """

    model: str
    version: int
    url: str
    tag: str
    pid: int | None = None


def announce(model: str, version: int, url: str, tag: str, pid: int | None) -> Endpoint:
    """Says that `version` answers at `url`. It gets no traffic before `switch`, unless it is the live one already."""
    database.setup()
    from serving.models import Endpoint as Row

    fields = {"url": url.rstrip("/"), "tag": tag, "pid": pid, "announced": datetime.now(UTC), "retired": None}
    row, _ = Row.objects.update_or_create(model=model, version=version, defaults=fields)
    return _endpoint(row)


def switch(model: str, version: int) -> None:
    """Gives all traffic of `model` to `version`; routers follow within half a second.

    Raises:
        NotFound: no service of that version is announced.
    """
    database.setup()
    from django.db import transaction

    from serving.models import Endpoint as Row
    from serving.models import Release

    with transaction.atomic():
        if not Row.objects.filter(model=model, version=version, retired=None).exists():
            raise NotFound(
                f"no service of {model} version {version} is announced",
                expected="a service that is running and passed its golden samples",
                mend=f"`visionloop release {model} {version}` starts one",
            )
        old = Release.objects.filter(model=model).first()
        previous = old.previous if old and old.version == version else old.version if old else None
        Release.objects.update_or_create(
            model=model, defaults={"version": version, "previous": previous, "changed": datetime.now(UTC)}
        )


def live(model: str) -> Endpoint | None:
    """The service that gets the traffic of `model`, if there is one."""
    return live_endpoints().get(model)


def live_endpoints() -> dict[str, Endpoint]:
    """The live service of every model that has one, by model."""
    database.setup()
    from serving.models import Endpoint as Row
    from serving.models import Release

    wanted = dict(Release.objects.values_list("model", "version"))
    rows = Row.objects.filter(model__in=wanted, retired=None)
    return {row.model: _endpoint(row) for row in rows if wanted[row.model] == row.version}


def retire(model: str, version: int) -> None:
    """Says that the service of `version` is gone. The live one can be retired too: the model then answers 503."""
    database.setup()
    from serving.models import Endpoint as Row

    Row.objects.filter(model=model, version=version).update(retired=datetime.now(UTC), pid=None)


def withdraw(model: str) -> None:
    """Takes the traffic away from every version of `model`."""
    database.setup()
    from serving.models import Release

    Release.objects.filter(model=model).delete()


def _endpoint(row: object) -> Endpoint:
    names = ("model", "version", "url", "tag", "pid")
    return Endpoint(**{name: getattr(row, name) for name in names})
