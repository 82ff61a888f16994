"""Takes versions off the air, for the next test. No command does so."""

from __future__ import annotations

from datetime import UTC, datetime

from registry.core import database


def withdraw(model: str) -> None:
    """Takes the traffic away from every version of `model`."""
    database.setup()
    from serving.releases.models import Release

    Release.objects.filter(model=model).delete()


def retire(model: str, version: int) -> None:
    """Notes that the service of `version` is gone."""
    database.setup()
    from serving.releases.models import Endpoint

    Endpoint.objects.filter(model=model, version=version).update(retired=datetime.now(UTC))
