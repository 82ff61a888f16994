"""The operational database: one, through Django's ORM, SQLite by default and PostgreSQL by a setting.

Django is configured by `setup()`, not by a settings module, so that importing visionloop configures nothing.
"""

from __future__ import annotations

import os
import secrets
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from registry.errors import MissingService, SettingsError, StorageError
from registry.settings import Settings, settings

APPS = ("monitoring", "serving", "serving.access", "serving.tasks")
"""The packages that own tables; named, not imported. A Bento carries those that its service uses."""

_lock = threading.Lock()


def connection(url: str) -> dict[str, Any]:
    """A database URL as Django's `DATABASES` entry.

    Raises:
        SettingsError: neither sqlite:///PATH nor postgresql://USER:PASSWORD@HOST:PORT/NAME.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path.strip("/"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]),  # as SQLAlchemy reads it: four slashes for an absolute path
            # WAL lets readers go on while one writes; IMMEDIATE makes writers queue instead of failing halfway.
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    if parts.scheme in ("postgresql", "postgres") and parts.path.strip("/"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.strip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }
    raise SettingsError(
        f"database_url is a {parts.scheme or 'nameless'} address",
        expected="sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME",
        mend="correct VISIONLOOP_DATABASE_URL or database_url in visionloop.toml",
    )


def setup(config: Settings | None = None) -> None:
    """Configures Django once per process. Call it before importing a module with tables."""
    import django
    from django.conf import settings as django_settings

    with _lock:
        if django_settings.configured:
            return
        chosen = config or settings()
        url = chosen.database
        entry = connection(url)
        if entry["ENGINE"].endswith("sqlite3"):
            Path(entry["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        django_settings.configure(
            DATABASES={"default": entry},
            INSTALLED_APPS=[app for app in APPS if find_spec(app)],
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            USE_TZ=True,
            TIME_ZONE="UTC",
            SECRET_KEY=secrets.token_hex(32),  # signs nothing yet: no sessions, no cookies
            LOGGING_CONFIG=None,
            ROOT_URLCONF="serving.public.urls",  # looked up by the router only
            # The router bounds bodies itself, and nothing that a caller sends goes onto the disk on the way.
            DATA_UPLOAD_MAX_MEMORY_SIZE=None,
            FILE_UPLOAD_MAX_MEMORY_SIZE=chosen.max_upload_mb * 2**20,
        )
        # The ORM refuses to run under an event loop; our calls there are short and go through threads anyway.
        os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        django.setup()


def migrate() -> None:
    """Brings the database to this code's tables; safe to run again, and by several processes at once.

    Raises:
        MissingService: the database does not answer.
        StorageError: SQLite cannot create or write its file.
    """
    setup()
    import time

    from django.core.management import call_command
    from django.db import DatabaseError, OperationalError

    for attempt in range(5):
        try:
            call_command("migrate", verbosity=0, interactive=False)
            return
        except OperationalError as error:
            text = str(error).splitlines()[0]
            if "unable to open" in text or "readonly" in text or "disk" in text:
                raise StorageError(
                    f"the operational database cannot be written: {text}",
                    expected=f"a writable {settings().var}",
                    mend="free some space or mend the rights, then run the same command again",
                ) from error
            if attempt == 4:
                raise MissingService(
                    f"the operational database does not answer: {text}",
                    expected="a database at database_url",
                    mend="start it, or correct VISIONLOOP_DATABASE_URL",
                ) from error
            time.sleep(0.5 * (attempt + 1))
        except DatabaseError:
            # Two processes created the same table at once: the loser looks again.
            if attempt == 4:
                raise
            time.sleep(0.5 * (attempt + 1))
