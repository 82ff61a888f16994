"""Our versions of allauth's forms."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from allauth.core import context
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY, generate_totp_secret
from django import forms

from registry.core.errors import EncryptionError
from serving.accounts import encrypted


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
