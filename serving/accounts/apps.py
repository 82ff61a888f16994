"""Django's entry: what people change of their own accounts leaves a line in the audit trail."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "serving.accounts"
    label = "accounts"

    def ready(self) -> None:
        from allauth.account import signals
        from allauth.mfa import signals as factors

        for what, signal in {
            "account.sign-up": signals.user_signed_up,
            "account.password": signals.password_changed,
            "account.password-reset": signals.password_reset,
            "account.email": signals.email_changed,
            "account.second-factor-add": factors.authenticator_added,
            "account.second-factor-remove": factors.authenticator_removed,
            "account.second-factor-reset": factors.authenticator_reset,
        }.items():
            signal.connect(_noter(what), weak=False, dispatch_uid=what)


def _noter(what: str) -> Any:
    def noted(user: Any, authenticator: Any = None, **_: Any) -> None:
        from serving.accounts import audit

        audit.note(user, what, user, **({"kind": authenticator.type} if authenticator is not None else {}))

    return noted
