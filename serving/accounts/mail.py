"""Letters: written into the outbox by the pages, sent by a thread of the web process.

A page never waits for the mail server, and letters survive restarts. Without `smtp_url` each becomes a file in
`var/mail`. A letter may arrive twice if the process ends between sending it and noting so; its Message-ID is the same.
"""

from __future__ import annotations

import logging
import os
import smtplib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils import timezone

from registry.core import database
from registry.core.errors import EncryptionError, first_line
from registry.core.settings import settings
from registry.encryption.files import decrypt_bytes, encrypt_bytes
from serving.accounts import cleaning, smtp
from serving.accounts.models import Letter

logger = logging.getLogger("visionloop.mail")

POLL_S = 5.0
CLAIM = timedelta(minutes=5)
"""How long a process may take to send a letter before another one tries."""
LONGEST_WAIT = timedelta(minutes=5)
GIVE_UP = timedelta(days=3)

_written = threading.Event()


class Outbox(BaseEmailBackend):
    """Django's way to send mail: writes the letters into the outbox."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for one in email_messages:
            Letter.objects.create(
                recipients=", ".join(one.recipients())[:1000],
                subject=str(one.subject)[:200],
                content=encrypt_bytes(one.message().as_bytes(linesep="\r\n"), "letter"),
                next_try=timezone.now(),
            )
        _written.set()
        return len(email_messages)


@contextmanager
def sender() -> Iterator[None]:
    """Sends what is in the outbox, in a thread, until the context ends."""
    ended = threading.Event()
    thread = threading.Thread(target=_run, args=(ended,), name="mail", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        _written.set()
        thread.join(10)


def send_due() -> int:
    """Sends the letters whose time has come, until the mail server fails. Returns how many were sent."""
    sent = 0
    while (letter := _claim(timezone.now())) is not None:
        if not _send(letter):
            break
        sent += 1
    if sent:  # the server is back: those that wait for it need not wait longer
        Letter.objects.filter(state=Letter.State.WAITING, attempts__gt=0).exclude(problem="").update(
            next_try=timezone.now()
        )
    return sent


def _run(ended: threading.Event) -> None:
    cleaned = 0.0
    while not ended.is_set():
        _written.clear()
        try:
            database.renew_connection()
            send_due()
            if time.monotonic() - cleaned > cleaning.EVERY_S or not cleaned:
                cleaning.clean(timezone.now())
                cleaned = time.monotonic()
        except Exception as error:  # the thread must live on: the database may be away, the disk full
            logger.warning("letters wait: %s", first_line(error))
        _written.wait(POLL_S)
    database.close_connection()


def _claim(now: datetime) -> Letter | None:
    """A letter that is due and that no other process sends meanwhile."""
    due = Letter.objects.filter(state=Letter.State.WAITING, next_try__lte=now).order_by("next_try", "pk")
    for letter in due[:10]:
        mine = Letter.objects.filter(pk=letter.pk, state=Letter.State.WAITING, next_try=letter.next_try)
        if mine.update(next_try=now + CLAIM, attempts=letter.attempts + 1):
            letter.attempts += 1
            return letter
    return None


def _send(letter: Letter) -> bool:
    """Whether the next one may be tried at once: this one was sent, or will never be."""
    try:
        _deliver(letter)
    except EncryptionError as error:
        _failed(letter, error, for_ever=True)
        return True
    except smtplib.SMTPRecipientsRefused as error:
        _failed(letter, error, for_ever=all(code >= 500 for code, _ in error.recipients.values()))
        return True
    except OSError as error:  # smtplib's errors, TLS and the network; a full disk
        _failed(letter, error, letter.time < timezone.now() - GIVE_UP)
        return False
    Letter.objects.filter(pk=letter.pk).update(
        state=Letter.State.SENT, sent=timezone.now(), content=b"", problem="", attempts=letter.attempts
    )
    return True


def _deliver(letter: Letter) -> None:
    content = decrypt_bytes(bytes(letter.content), "letter")
    server = smtp.parse(settings().smtp_url)
    if server is not None:
        with server.connect() as connection:
            connection.sendmail(sender_address(), letter.recipients.split(", "), content)
        return
    folder = settings().var / "mail"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{letter.time:%Y%m%d-%H%M%S}-{letter.pk}.eml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def sender_address() -> str:
    """The address that letters come from."""
    return settings().mail_from or "visionloop@localhost"


def _failed(letter: Letter, error: Exception, for_ever: bool) -> None:
    waits = min(timedelta(seconds=5 * 2 ** min(letter.attempts - 1, 10)), LONGEST_WAIT)
    logger.warning("letter %d is not sent: %s", letter.pk, first_line(error))
    Letter.objects.filter(pk=letter.pk).update(
        problem=first_line(error)[:300],
        next_try=timezone.now() + waits,
        **({"state": Letter.State.FAILED, "content": b""} if for_ever else {}),
    )
