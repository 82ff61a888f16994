"""The tables of people. Import only after `serving.web.configuration.setup()`. Times are UTC."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models


class Role(models.TextChoices):
    """What a person may do beside their own things. Each may what those before it may."""

    USER = "", "user"
    VIEWER = "viewer", "viewer"  # looks at the back office
    OPERATOR = "operator", "operator"  # releases and runs, no people
    ADMINISTRATOR = "administrator", "administrator"


class UserManager(BaseUserManager["User"]):
    """Makes users from an e-mail address."""

    def create_user(self, email: str, password: str | None = None, **more: Any) -> User:
        user: User = self.model(email=self.normalize_email(email), **more)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractUser):
    """A person, known by the e-mail address.

    Attributes:
        consented: when the person agreed to what is kept of an upload; None: not yet.
        language: of pages and letters; "": as the browser asks.
    """

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)
    role = models.CharField(max_length=16, choices=Role, default=Role.USER, blank=True)
    language = models.CharField(max_length=8, blank=True)
    consented = models.DateTimeField(null=True, blank=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        app_label = "accounts"

    def __str__(self) -> str:
        return self.email

    def has_role(self, least: Role) -> bool:
        """Whether the person may what `least` may."""
        order = list(Role)
        return self.is_active and order.index(Role(self.role)) >= order.index(least)


class AuditLine(models.Model):
    """What somebody did to the platform. Lines are added, never changed or deleted.

    Attributes:
        who: the person's e-mail address, or the name of the command line's user.
        what: a short verb, e.g. "release.promote".
        target: what it was done to, e.g. "skin_segmentation@3".
        why: the reason that was given.
        details: more, as JSON.
    """

    time = models.DateTimeField(auto_now_add=True, db_index=True)
    who = models.CharField(max_length=254)
    what = models.CharField(max_length=64)
    target = models.CharField(max_length=200, blank=True)
    why = models.TextField(blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        app_label = "accounts"
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%d %H:%M} {self.who} {self.what} {self.target}"

    def save(self, *args: Any, **options: Any) -> None:
        if self.pk is not None:
            raise TypeError("a line of the audit trail is never changed")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("a line of the audit trail is never deleted")
