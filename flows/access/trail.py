"""The audit trail of what is changed at the command line: the back office's pages add the same lines."""

from __future__ import annotations

from typing import Any

from registry.core import database


def note(what: str, target: str, why: str = "", **details: Any) -> None:
    """Adds a line in the name of who types. Otherwise as `serving.accounts.audit.note`.

    Django must have been configured by `serving.web.configuration.setup`, once a process and so before all else.
    """
    database.migrate()
    from serving.accounts import audit

    audit.note(audit.command_line(), what, target, why, **details)
