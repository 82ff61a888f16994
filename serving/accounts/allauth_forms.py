"""Our versions of allauth's forms."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from allauth.account.forms import SignupForm
from allauth.core import context
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY, generate_totp_secret
from django import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest

from registry.core.errors import EncryptionError
from serving.accounts import encrypted


class SignUp(SignupForm):
    """Takes as long for an address that has an account: else the time would say that it has one."""

    def try_save(self, request: HttpRequest) -> Any:
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        return super().try_save(request)


class ActivateApp(ActivateTOTPForm):
    """Sets an authenticator app up. Its secret is encrypted in the session until the code confirms it."""

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        forms.Form.__init__(self, *args, **more)  # not allauth's, which keeps the secret in the clear
        self.user = user
        self.secret = _secret(new=not self.is_bound)


def _secret(new: bool) -> str:
    """The secret that is being set up in this session; a new one where there is none that can be read."""
    session = context.request.session
    if not new:
        with suppress(KeyError, EncryptionError, ValueError):
            return encrypted.show(session[SECRET_SESSION_KEY])
    secret: str = generate_totp_secret()
    session[SECRET_SESSION_KEY] = encrypted.hide(secret)
    return secret
