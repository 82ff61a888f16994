"""What allauth asks us: how letters look, and how the secrets of second factors are kept."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.sites.requests import RequestSite
from django.utils import translation

from serving.accounts import encrypted, mail


class AccountAdapter(DefaultAccountAdapter):
    """Letters come from `mail_from`, in the person's language, and call the place visionloop."""

    def get_from_email(self) -> str:
        return mail.sender_address()

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        site = RequestSite(self.request)
        site.name = "visionloop"
        language = getattr(context.get("user"), "language", "") or translation.get_language()
        with translation.override(language):
            super().send_mail(template_prefix, email, {**context, "current_site": site})


class SecondFactorAdapter(DefaultMFAAdapter):
    """Keeps the secrets of authenticator apps and the seeds of recovery codes encrypted."""

    def encrypt(self, text: str) -> str:
        return encrypted.hide(text)

    def decrypt(self, encrypted_text: str) -> str:
        return encrypted.show(encrypted_text)
