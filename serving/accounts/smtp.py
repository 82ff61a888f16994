"""The mail server: what `smtp_url` says, and a connection whose TLS is verified."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from registry.core.errors import SettingsError
from registry.core.settings import is_loopback

TIMEOUT_S = 20
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """Where letters are handed in.

    Attributes:
        scheme: `smtp+starttls` begins in the clear and must change to TLS; `smtps` is TLS from the first byte; `smtp`
            is a relay on this machine, without TLS.
        ca: a file with the authority that the server's certificate must come from; "": those of the system.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""

    @contextmanager
    def connect(self) -> Iterator[smtplib.SMTP]:
        """A connection, logged in. Raises OSError (its kinds are ssl.SSLError and smtplib.SMTPException)."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        with server:
            if self.scheme == "smtp+starttls":
                server.starttls(context=context)
            if self.user:
                server.login(self.user, self.password)
            yield server


def parse(url: str) -> MailServer | None:
    """The mail server of the setting `smtp_url`; None where it is empty.

    Raises:
        SettingsError: it is not such an address, or would send letters over the network in the clear. The password is
            not repeated.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        more = parse_qs(parts.query, strict_parsing=bool(parts.query))
        known = parts.hostname and parts.path in ("", "/") and not parts.fragment and more.keys() <= {"ca"}
    except (ValueError, KeyError):
        known = False
    if not known:
        raise SettingsError(
            "smtp_url is not the address of a mail server",
            expected="smtp+starttls://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465, perhaps with ?ca=FILE",
            fix="in user and password write special characters as %XX, e.g. %40 for @",
        ) from None  # the cause may show the password
    host = str(parts.hostname)
    if parts.scheme == "smtp" and not is_loopback(host):
        raise SettingsError(
            f"smtp_url would send letters to {host} without TLS",
            expected="smtp+starttls:// or smtps://; smtp:// for a relay on this machine only",
            fix="change the scheme of smtp_url",
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.scheme, host, port, user, password, more.get("ca", [""])[0])
