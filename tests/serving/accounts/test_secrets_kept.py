"""Secrets of second factors: encrypted also while one is set up, and renewed beside people who use them."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest

from registry.core import database
from registry.encryption import keys
from registry.encryption.format import key_ids
from serving.accounts import encrypted


@pytest.fixture
def user(home: Path) -> Any:
    from serving.accounts.models import User

    return User.objects.create_user("me@example.org", "Blauer-Reiter-1911")


def test_the_secret_of_an_app_that_is_being_set_up_is_encrypted_in_the_session(user: Any) -> None:
    from allauth.core import context
    from allauth.mfa import app_settings
    from allauth.utils import get_form_class
    from django.contrib.sessions.backends.db import SessionStore
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.session = SessionStore()
    form = get_form_class(app_settings.FORMS, "activate_totp", None)
    with context.request_context(request):
        shown = form(user=user).secret
        request.session.save()
        kept = SessionStore(request.session.session_key)
        assert shown not in str(kept.load())
        request.session = kept
        assert form({"code": "123456"}, user=user).secret == shown, "the page that confirms has the same one"
        keys.key_file().unlink()
        assert form({"code": "123456"}, user=user).secret != shown, "one that cannot be read begins anew"


def test_a_recovery_code_that_is_used_during_a_renewal_stays_used(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    codes = RecoveryCodes.activate(user)
    code, show, used = codes.get_unused_codes()[0], encrypted.show, list[bool]()

    def use() -> None:
        used.append(RecoveryCodes(Authenticator.objects.get(user=user)).validate_code(code))
        database.close_connection()

    somebody = threading.Thread(target=use)

    def in_the_middle(hidden: str) -> str:
        monkeypatch.setattr(encrypted, "show", show)
        somebody.start()
        somebody.join(1)  # a renewal that does not lock lets it end here, and then writes what it had read before
        return show(hidden)

    keys.add_key()
    monkeypatch.setattr(encrypted, "show", in_the_middle)
    assert encrypted.renew() == (1, [])
    somebody.join(30)
    kept = Authenticator.objects.get(user=user).data
    assert (used, kept["used_mask"]) == ([True], 1)
    assert key_ids(base64.b64decode(kept["seed"])) == {keys.keyring().first.id}


def test_what_a_page_saves_from_before_is_renewed_the_next_time(user: Any) -> None:
    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    before = RecoveryCodes.activate(user)
    keys.add_key()
    assert encrypted.renew() == (1, [])
    before.mark_as_viewed()  # by a page that had read the codes before
    assert len(encrypted.count_by_keys()) == 1
    assert encrypted.renew() == (1, [])
    assert encrypted.count_by_keys() == {frozenset({keys.keyring().first.id}): 1}
    assert Authenticator.objects.get(user=user).data["viewed_at"]


def test_a_secret_whose_key_is_lost_stops_no_other(user: Any) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    from serving.accounts.models import User

    RecoveryCodes.activate(user)
    keys.key_file().unlink()
    RecoveryCodes.activate(User.objects.create_user("you@example.org", "Blauer-Reiter-1911"))
    keys.add_key()
    count, failed = encrypted.renew()
    assert (count, len(failed)) == (1, 1)
