"""Profile, keys, sessions, own data and the contact form, in a real browser."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from registry.core import database
from registry.core.errors import NotFound, Refused
from tests.browsers import Visitor
from tests.serving.accounts.conftest import PASSWORD, Letters, confirm_access, log_in
from tests.waiting import until


def test_the_language_is_remembered(member: tuple[Visitor, Any], browser: Any, web: str) -> None:
    (visitor, user), page = member, member[0].page
    visitor.open("/accounts/profile/")
    page.get_by_label("First name").fill("Gabriele")
    page.get_by_label("Language").select_option("fr")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Profil").wait_for()
    assert visitor.axe() == []
    other = Visitor(browser, web)
    log_in(other, user.email)
    other.page.get_by_role("link", name="Modèles").wait_for()
    other.page.get_by_role("button", name="English").click()
    other.page.get_by_role("link", name="Models").wait_for()
    other.close()


def test_a_key_is_shown_once_and_asks_the_router(member: tuple[Visitor, Any], router: str) -> None:
    visitor, user = member
    page = visitor.page
    visitor.open("/accounts/keys/")
    assert visitor.axe() == []
    page.get_by_label("Name").fill("my notebook")
    page.get_by_label("Fruit features").check()
    page.get_by_role("button", name="Make the key").click()
    token = page.get_by_label("my notebook").input_value()
    assert visitor.axe() == []
    until(lambda: _asked(router, token) == 200, 20)  # routers look for new keys every half second

    page.get_by_role("link", name="I have it").click()
    page.get_by_text("fruit_features · feedback, predict, read").wait_for()
    assert token not in page.content()
    page.get_by_role("button", name="New secret for my notebook").click()
    page.get_by_text("The old secret is valid until").wait_for()
    second = page.get_by_label("my notebook").input_value()
    assert second[:15] == token[:15]
    assert visitor.axe() == []
    for valid in (token, second):
        until(lambda valid=valid: _asked(router, valid) == 200, 20)
    page.get_by_role("link", name="I have it").click()
    page.get_by_role("button", name="Revoke my notebook").click()
    page.get_by_text("The key “my notebook” is revoked.").wait_for()
    assert visitor.axe() == []
    assert _keys(user)[0].revoked is not None
    assert [line.what for line in _lines(user)] == ["key.revoke", "key.rotate", "key.create"]


def _asked(router: str, token: str) -> int:
    return httpx.get(f"{router}/v1/usage", headers={"X-API-Key": token}, timeout=30).status_code


def test_a_key_may_not_do_more_than_its_account(member: tuple[Visitor, Any]) -> None:
    from serving.accounts import keys

    visitor, user = member
    visitor.open("/accounts/keys/")
    assert visitor.page.get_by_label("see every caller's predictions").count() == 0
    with pytest.raises(Refused):
        keys.create(user, "more", actions=["admin"])
    assert _keys(user) == []


def test_nobody_revokes_or_rotates_the_key_of_another(member: tuple[Visitor, Any], account: Any) -> None:
    from serving.accounts import keys

    other = account()
    made, _ = keys.create(other, "theirs")
    with pytest.raises(NotFound):
        keys.revoke(member[1], made.caller)
    with pytest.raises(NotFound):
        keys.rotate(member[1], made.caller)
    assert _keys(other)[0].revoked is None


def test_the_key_of_the_pages_is_kept_encrypted_and_not_listed(account: Any) -> None:
    from serving.access import keys as store
    from serving.accounts import keys, people

    user = account()
    token = keys.token_of_pages(user)
    assert keys.token_of_pages(user) == token
    assert token.encode() not in bytes(user.keys.get().token)
    assert _keys(user) == []
    people.set_active(user, False, by="a test")
    with pytest.raises(Refused):
        keys.token_of_pages(user)
    assert store.get(token[:15]).revoked is not None
    people.set_active(user, True, by="a test")
    assert keys.token_of_pages(user) != token
    assert len(keys.callers(user)) == 2
    assert _keys(user) == []


def test_a_session_elsewhere_is_ended(member: tuple[Visitor, Any], browser: Any, web: str) -> None:
    visitor, user = member
    other = Visitor(browser, web)
    log_in(other, user.email)
    other.page.get_by_role("button", name=user.email).wait_for()
    visitor.open("/accounts/sessions/")
    assert visitor.axe() == []
    visitor.page.get_by_role("button", name="End the session of").click()
    visitor.page.get_by_text("That session has ended.").wait_for()
    other.open("/accounts/profile/")
    assert "/login/" in other.page.url
    other.close()


def test_all_data_is_a_zip(member: tuple[Visitor, Any]) -> None:
    from serving.accounts import keys

    visitor, user = member
    _, token = keys.create(user, "my notebook")
    visitor.open("/accounts/data/")
    assert visitor.axe() == []
    visitor.page.get_by_role("link", name="Download everything").click()
    with visitor.page.expect_download() as download:
        confirm_access(visitor.page)
    content = download.value.path().read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name).decode() for name in archive.namelist()}
    assert json.loads(held["account.json"])["email"] == user.email
    assert json.loads(held["keys.json"])[0]["name"] == "my notebook"
    assert not any(secret in text for text in held.values() for secret in (token, token[16:], user.password))


def test_an_account_is_deleted_with_all_of_it(member: tuple[Visitor, Any]) -> None:
    from monitoring.log.models import Prediction
    from serving.access.models import Key
    from serving.access.webhook_secrets import webhook_secret
    from serving.accounts import keys
    from serving.accounts.models import AuditLine, Letter, User
    from serving.idempotency import store as keyed_requests
    from serving.idempotency.models import KeyedRequest
    from serving.webhooks import store as webhooks
    from serving.webhooks.models import Delivery

    visitor, user = member
    page = visitor.page
    made, _ = keys.create(user, "key of Gabriele")
    predicted = {"model": "fruit_features", "version": 1, "role": "live", "latency_ms": 1.0, "outcome": "ok"}
    for id, caller in (("a" * 32, made.caller), ("b" * 32, "vl_0123456789ab")):
        Prediction.objects.create(id=id, caller=caller, time=datetime.now(UTC), status=200, **predicted)
        keyed_requests.begin(caller, "once", "f", timedelta(minutes=1))
    webhook_secret(made.id)
    webhooks.note("c" * 32, "fruit_features", made.id, "https://example.org/gabriele")
    visitor.open("/accounts/data/")
    page.get_by_label("Your password").fill("not-the-password-1")
    page.get_by_role("button", name="Delete everything").click()
    page.get_by_text("That is not your password.").wait_for()
    visitor.faults.clear()  # the browser reports the status 422
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Delete everything").click()
    page.get_by_text("Your account and all its data are deleted.").wait_for()
    page.get_by_role("link", name="Log in").wait_for()

    assert not User.objects.filter(pk=user.pk).exists()
    assert not Letter.objects.filter(recipients=user.email).exists()
    assert [row.id for row in Prediction.objects.filter(id__in=["a" * 32, "b" * 32])] == ["b" * 32]
    assert not KeyedRequest.objects.filter(caller=made.caller).exists()
    assert KeyedRequest.objects.filter(caller="vl_0123456789ab").exists()
    assert not Delivery.objects.filter(key=made.id).exists()
    left = Key.objects.get(id=made.id)  # its usage refers to it
    assert (left.owner, left.webhook_secret, left.revoked is not None) == ("", "", True)
    assert "Gabriele" not in left.name
    assert not AuditLine.objects.filter(who=user.email).exists()
    assert AuditLine.objects.filter(what="user.delete", target=f"user {user.pk}").exists()


def test_a_message_reaches_the_administrators_and_is_answered(visitor: Visitor, account: Any, letters: Letters) -> None:
    from serving.accounts import contact
    from serving.accounts.models import Message

    administrator, page = account("administrator"), visitor.page
    visitor.open("/contact/")
    assert visitor.axe() == []
    page.get_by_label("Your name").fill("Franz")
    page.get_by_label("Your e-mail address").fill("franz@example.org")
    page.get_by_label("Subject").fill("Blue horses")
    page.get_by_label("Message").fill("Are they found as horses?")
    page.wait_for_timeout(3500)  # a person takes longer
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Thank you. Your message has arrived").wait_for()
    letter = letters.to(administrator.email, "Blue horses")
    assert letter["Reply-To"] == "franz@example.org"
    assert "Are they found as horses?" in letter.get_content()

    message = Message.objects.get(subject="Blue horses")
    contact.answer(message, "Not yet.", administrator)
    answer = letters.to("franz@example.org", "Re: Blue horses").get_content().replace("\r\n", "\n")
    assert answer.startswith("Not yet.\n\nOn ")
    assert "> Are they found as horses?" in answer
    assert Message.objects.get(pk=message.pk).state == "answered"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"subject": "Hello\nBcc: all@example.org"}, "Please write this in one line."),
        ({"email": "a@example.org\nBcc: all@example.org"}, "Enter a valid email address."),
        ({"name": "A\u2028B"}, "Please write this in one line."),
        ({"opened": "form:1x:forged"}, "This page was open too long."),
        ({}, "That was very quick."),
        ({"website": "https://example.org"}, ""),
    ],
    ids=["header in subject", "header in address", "odd line end", "forged time", "too quick", "honeypot"],
)
def test_spam_is_refused(web: str, account: Any, given: dict[str, str], says: str) -> None:
    from serving.accounts.models import Message

    address = f"{account().pk}@example.net"
    with httpx.Client(base_url=web, headers={"X-Forwarded-For": f"10.0.0.{account().pk % 250}"}) as client:
        page = client.get("/contact/").text
        fields = {
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
            "opened": page.partition('name="opened" value="')[2].partition('"')[0],
            "name": "A",
            "email": address,
            "subject": "Hello",
            "text": "Buy this, it is very good.",
        }
        answer = client.post("/contact/", data={**fields, **given})
    assert answer.status_code == (422 if says else 302)
    assert says in answer.text
    database.renew_connection()
    assert not Message.objects.filter(text__startswith="Buy this").exists()


def test_few_messages_from_one_address(web: str) -> None:
    with httpx.Client(base_url=web, headers={"X-Forwarded-For": "10.9.9.9"}) as client:
        client.get("/contact/")
        fields = {"csrfmiddlewaretoken": client.cookies["csrftoken"], "website": "x"}
        statuses = [client.post("/contact/", data=fields).status_code for _ in range(6)]
    assert statuses == [302] * 5 + [429]


def _keys(user: Any) -> list[Any]:
    from serving.accounts import keys

    database.renew_connection()
    return keys.of(user)


def _lines(user: Any) -> list[Any]:
    from serving.accounts.models import AuditLine

    database.renew_connection()
    return list(AuditLine.objects.filter(who=f"user {user.pk}"))
