"""States, roles and actions of the platform in the reader's language. One that is not known stays as it is."""

from __future__ import annotations

from django.utils.translation import pgettext, pgettext_lazy

KNOWN = (
    pgettext_lazy("state", "live"),
    pgettext_lazy("state", "canary"),
    pgettext_lazy("state", "shadow"),
    pgettext_lazy("state", "a"),
    pgettext_lazy("state", "b"),
    pgettext_lazy("state", "pinned"),
    pgettext_lazy("state", "warm"),
    pgettext_lazy("state", "champion"),
    pgettext_lazy("state", "challenger"),
    pgettext_lazy("state", "previous"),
    pgettext_lazy("state", "release"),
    pgettext_lazy("state", "step"),
    pgettext_lazy("state", "ab"),
    pgettext_lazy("state", "promote"),
    pgettext_lazy("state", "rollback"),
    pgettext_lazy("state", "verdict"),
    pgettext_lazy("state", "waiting"),
    pgettext_lazy("state", "starting"),
    pgettext_lazy("state", "ready"),
    pgettext_lazy("state", "external"),
    pgettext_lazy("state", "stopping"),
    pgettext_lazy("state", "stopped"),
    pgettext_lazy("state", "blocked"),
    pgettext_lazy("state", "restarting"),
    pgettext_lazy("state", "done"),
    pgettext_lazy("state", "failed"),
    pgettext_lazy("state", "Scheduled"),
    pgettext_lazy("state", "Late"),
    pgettext_lazy("state", "Pending"),
    pgettext_lazy("state", "Running"),
    pgettext_lazy("state", "Retrying"),
    pgettext_lazy("state", "AwaitingRetry"),
    pgettext_lazy("state", "Paused"),
    pgettext_lazy("state", "Completed"),
    pgettext_lazy("state", "Failed"),
    pgettext_lazy("state", "Crashed"),
    pgettext_lazy("state", "Cancelling"),
    pgettext_lazy("state", "Cancelled"),
    pgettext_lazy("state", "active"),
    pgettext_lazy("state", "disabled"),
    pgettext_lazy("state", "expired"),
    pgettext_lazy("state", "revoked"),
    pgettext_lazy("state", "new"),
    pgettext_lazy("state", "answered"),
    pgettext_lazy("state", "closed"),
    pgettext_lazy("state", "ok"),
    pgettext_lazy("state", "granted"),
    pgettext_lazy("state", "refused"),
    pgettext_lazy("state", "not asked"),
)
"""Of versions, release plans, processes, runs of Prefect, keys, accounts, messages and predictions."""


def translated(state: str) -> str:
    return pgettext("state", state) if state else ""
