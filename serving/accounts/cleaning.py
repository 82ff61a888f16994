"""Deletes what is over: sessions that ended by themselves, what is left of letters, and letters that became files."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from registry.core.settings import settings
from serving.accounts.models import Letter

LETTERS_KEPT = timedelta(days=30)
"""How long the outbox says that a letter was sent, and how long one is kept that became a file in `var/mail`."""
EVERY_S = 3600.0


def clean(now: datetime) -> None:
    """May be repeated, and run in several processes at once."""
    Session.objects.filter(expire_date__lt=now).delete()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    Letter.objects.filter(time__lt=now - LETTERS_KEPT).exclude(state=Letter.State.WAITING).delete()
    for path in (settings().var / "mail").glob("*.eml"):
        with suppress(OSError):
            if path.stat().st_mtime < (now - LETTERS_KEPT).timestamp():
                path.unlink()
