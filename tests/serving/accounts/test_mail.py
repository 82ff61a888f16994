"""Letters go to a real SMTP server with verified TLS, wait while it is away, and survive a restart."""

from __future__ import annotations

import email
import email.policy
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import SettingsError
from registry.core.settings import settings
from serving.accounts import smtp
from serving.releases.deploy import free_port
from tests.serving.accounts.mail_server import Authority, MailServer
from tests.waiting import until

Start = Callable[..., MailServer]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "known").mkdir()
    return Authority(tmp_path / "known")


@pytest.fixture
def start(port: int) -> Iterator[Start]:
    """Starts a mail server."""
    running = []

    def started(authority: Authority, scheme: str, host: str = "localhost") -> MailServer:
        server = MailServer(port, authority.context(host), implicit=scheme == "smtps")
        server.start()
        running.append(server)
        return server

    yield started
    for server in running:
        server.stop()


@pytest.fixture
def use(home: Path, monkeypatch: pytest.MonkeyPatch, port: int, authority: Authority) -> Callable[[str], None]:
    """Sets `smtp_url`, with the password's special characters as they must be written."""

    def chosen(scheme: str) -> None:
        monkeypatch.setenv("VISIONLOOP_MAIL_FROM", "visionloop@example.org")
        url = f"{scheme}://visionloop:p%40ss%2Fword@localhost:{port}?ca={authority.file}"
        monkeypatch.setenv("VISIONLOOP_SMTP_URL", url)
        settings.cache_clear()

    return chosen


def write(to: str = "anna@example.org") -> Any:
    from django.core.mail import EmailMessage

    from serving.accounts.mail import Outbox
    from serving.accounts.models import Letter

    message = EmailMessage("Grüße", "Your link: https://example.org/secret-link\n", "visionloop@example.org", [to])
    Outbox().send_messages([message])
    return Letter.objects.latest("pk")


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_a_letter_arrives_over_tls(scheme: str, use: Callable[[str], None], start: Start, authority: Authority) -> None:
    from serving.accounts import mail

    use(scheme)
    server = start(authority, scheme)
    letter = write()
    assert b"secret-link" not in bytes(letter.content)
    assert mail.send_due() == 1
    (sender, recipients, content) = server.letters[0]
    assert (sender, recipients) == ("visionloop@example.org", ["anna@example.org"])
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert read["Subject"] == "Grüße"
    assert "secret-link" in read.get_content()
    letter.refresh_from_db()
    assert (letter.state, bytes(letter.content), letter.problem) == ("sent", b"", "")
    assert mail.send_due() == 0


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
@pytest.mark.parametrize("fault", ["another authority", "another host"])
def test_a_wrong_certificate_is_refused(
    scheme: str, fault: str, use: Callable[[str], None], start: Start, authority: Authority, tmp_path: Path
) -> None:
    from serving.accounts import mail

    use(scheme)
    (tmp_path / "unknown").mkdir()
    signs = authority if fault == "another host" else Authority(tmp_path / "unknown")
    server = start(signs, scheme, "elsewhere.example.org" if fault == "another host" else "localhost")
    letter = write()
    assert mail.send_due() == 0
    assert server.letters == []
    letter.refresh_from_db()
    assert letter.state == "waiting"
    assert "certificate verify failed" in letter.problem


def test_letters_wait_for_the_server_and_survive_a_restart(
    use: Callable[[str], None], start: Start, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    from serving.accounts import mail
    from serving.accounts.models import Letter

    use("smtp+starttls")
    written = [write(f"{name}@example.org").pk for name in ("anna", "ben", "cleo")]
    with mail.sender():
        until(lambda: Letter.objects.filter(attempts__gt=0).exists())
    assert "refused" in Letter.objects.filter(attempts__gt=0)[0].problem.lower()
    assert "secret-link" not in caplog.text
    server = start(authority, "smtp+starttls")
    with mail.sender():  # another process
        until(lambda: not Letter.objects.exclude(state="sent").exists())
    assert sorted(one[1][0] for one in server.letters) == ["anna@example.org", "ben@example.org", "cleo@example.org"]
    assert Letter.objects.filter(pk__in=written, state="sent").count() == 3


def test_nobody_there_is_final_and_holds_up_no_other_letter(
    use: Callable[[str], None], start: Start, authority: Authority
) -> None:
    from serving.accounts import mail

    use("smtps")
    server = start(authority, "smtps")
    lost = write("nobody@example.org")
    write("anna@example.org")
    mail.send_due()
    assert [one[1] for one in server.letters] == [["anna@example.org"]]
    lost.refresh_from_db()
    assert lost.state == "failed"
    assert "no such person" in lost.problem


def test_without_a_server_letters_are_files_of_this_user_only(home: Path) -> None:
    from serving.accounts import mail

    write()
    assert mail.send_due() == 1
    (path,) = (home / "mail").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret-link" in path.read_bytes()


def test_what_is_over_is_deleted(home: Path) -> None:
    from allauth.usersessions.models import UserSession
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    from serving.accounts import cleaning, people
    from serving.accounts.models import Letter

    now = timezone.now()
    user, _ = people.create("anna@example.org", by="a test")
    for key, days in (("over", -1), ("valid", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=now + timedelta(days=days))
        UserSession.objects.create(user=user, ip="127.0.0.1", session_key=key, user_agent="")
    for state in ("sent", "waiting"):
        Letter.objects.create(recipients=state, subject="", content=b"", state=state, next_try=now)
    Letter.objects.update(time=now - timedelta(days=31))
    (home / "mail").mkdir()
    for name, days in (("old", 31), ("new", 29)):
        (home / "mail" / f"{name}.eml").write_text("a link")
        written = (now - timedelta(days=days)).timestamp()
        os.utime(home / "mail" / f"{name}.eml", (written, written))
    cleaning.clean(now)
    assert [path.name for path in (home / "mail").iterdir()] == ["new.eml"]
    assert [one.session_key for one in Session.objects.all()] == ["valid"]
    assert [one.session_key for one in UserSession.objects.all()] == ["valid"]
    assert [one.state for one in Letter.objects.all()] == ["waiting"]


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "http://mail.example.org",
        "smtp://mail.example.org",
        "smtps://user:pa/ss@mail.example.org",
        "smtps://mail.example.org:mail",
        "smtps://mail.example.org/?cafile=x",
        "smtps://",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        smtp.parse(url)
    assert "pa/ss" not in str(refused.value)


def test_addresses_of_mail_servers() -> None:
    assert smtp.parse("") is None
    found = smtp.parse("smtp+starttls://me:p%40ss@mail.example.org")
    assert found == smtp.MailServer("smtp+starttls", "mail.example.org", 587, "me", "p@ss")
    assert "p@ss" not in repr(found)
    assert smtp.parse("smtp://localhost") == smtp.MailServer("smtp", "localhost", 25)
