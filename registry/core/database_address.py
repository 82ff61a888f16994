"""The address of the operational database, and PostgreSQL's driver."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from registry.core.errors import SettingsError

POSTGRES_TIMEOUTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Options of libpq in seconds, the last one in milliseconds. Work waits in files while the database is away, so a host
that vanished should be noticed soon: the kernel's defaults take a quarter of an hour and more."""


def database_entry(url: str) -> dict[str, Any]:
    """A database URL as Django's `DATABASES` entry. By hand: errors of `dj-database-url` may show the password.

    What follows a `?` goes to PostgreSQL's client library, e.g. `?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem`:
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.

    Raises:
        SettingsError: neither sqlite:///PATH nor postgresql://USER:PASSWORD@HOST:PORT/NAME.
    """
    try:
        parts = urlsplit(url)
        port = str(parts.port or "")
    except ValueError:
        raise SettingsError(
            "database_url is not a valid address",
            expected="postgresql://USER:PASSWORD@HOST:PORT/NAME",
            fix="in the user and the password write special characters as %XX, e.g. %40 for @ and %2F for /",
        ) from None  # the cause shows a part of the password
    if parts.scheme == "sqlite" and parts.path.strip("/"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]),  # as in SQLAlchemy: four slashes for an absolute path
            # WAL lets readers read while one writes. IMMEDIATE makes writers wait instead of failing halfway.
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    if parts.scheme in ("postgresql", "postgres") and parts.path.strip("/"):
        behind = f"{parts.query}{parts.fragment}" if "@" not in parts.netloc else ""
        if "@" in parts.path + behind:
            # me:12/34@db would be the host me at port 12, and errors would show both: parts of user and password.
            raise SettingsError(
                "database_url has an @ after the first /, which ends user and password",
                expected="postgresql://USER:PASSWORD@HOST:PORT/NAME",
                fix="write special characters as %XX: / as %2F, ? as %3F, # as %23, @ as %40",
            )
        return _postgresql(parts, port)
    raise SettingsError(
        f"database_url has the scheme {parts.scheme!r}, or names no database",
        expected="sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME",
        fix="correct VISIONLOOP_DATABASE_URL or database_url in visionloop.toml",
    )


def _postgresql(parts: SplitResult, port: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": port,
        # Each request to the router has its own thread, whose connection ends with it. Threads that live on, such as
        # the prediction log's, keep theirs.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {**POSTGRES_TIMEOUTS, **dict(parse_qsl(parts.query))},
    }


def check_driver(options: Mapping[str, object]) -> None:
    try:
        import psycopg
        from psycopg.conninfo import make_conninfo

        with suppress(ImportError):
            # PostgreSQL's client library. The import makes a Bento require it (registry.core.closure).
            import psycopg_binary  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "database_url is a PostgreSQL database, and its driver is not installed",
            expected="psycopg 3",
            fix="`make setup` installs it; elsewhere `pip install 'psycopg[binary]>=3.3,<4'`",
        ) from error
    try:
        make_conninfo(**{name: str(value) for name, value in options.items()})
    except psycopg.ProgrammingError as error:
        raise SettingsError(
            f"database_url has an option that PostgreSQL's client does not know: {str(error).strip()}",
            expected="a connection parameter of libpq",
            fix="correct what follows the ? in database_url",
        ) from error
