"""The history of the release plans, and the changes that are still to be written into the registry."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from registry.core import database

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.releases.models import ReleaseEvent

FINISHED_DAYS = 7
"""How long writing a change into the registry is tried again."""


def person() -> str:
    """The name of the person at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "the command line"


def events(model: str, last: int = 20) -> list[ReleaseEvent]:
    """The latest changes of a model's plan, the newest first."""
    return list(_events().filter(model=model).order_by("-time", "-id")[:last])


def unfinished() -> list[ReleaseEvent]:
    """Changes of the last days that are still to be written into the registry, the oldest first."""
    since = datetime.now(UTC) - timedelta(days=FINISHED_DAYS)
    return list(_events().filter(todo__isnull=False, time__gte=since).order_by("id"))


def finished(event_id: int) -> None:
    """Notes that a change is written into the registry."""
    _events().filter(id=event_id).update(todo=None)


def _events() -> QuerySet[ReleaseEvent]:
    database.setup()
    from serving.releases.models import ReleaseEvent

    return ReleaseEvent.objects.all()
