"""The tables of people. Import only after `serving.web.configuration.setup()`. Times are UTC."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import pgettext_lazy


class Role(models.TextChoices):
    """What a person may do beside their own things. Each may what those before it may."""

    # Any: the checker of types does not know Django's enumerations.
    USER: Any = "", pgettext_lazy("role", "user")
    VIEWER: Any = "viewer", pgettext_lazy("role", "viewer")  # looks at the back office
    OPERATOR: Any = "operator", pgettext_lazy("role", "operator")  # releases and runs, no people
    ADMINISTRATOR: Any = "administrator", pgettext_lazy("role", "administrator")


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
        per_minute, per_month: requests of each of the person's keys; None: the setting's value, 0: no limit.
    """

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)
    role = models.CharField(max_length=16, choices=Role, default=Role.USER, blank=True)
    language = models.CharField(max_length=8, blank=True)
    consented = models.DateTimeField(null=True, blank=True)
    per_minute = models.BigIntegerField(null=True, blank=True)
    per_month = models.BigIntegerField(null=True, blank=True)

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


class AccountKey(models.Model):
    """An API key (`serving.access`) that belongs to a person.

    Attributes:
        key: the key's id.
        for_pages: whether the pages use it for this person, who does not see it.
        token: of the valid one of those: the whole key, encrypted.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="keys")
    key = models.CharField(max_length=12, unique=True)
    for_pages = models.BooleanField(default=False)
    token = models.BinaryField(null=True)

    class Meta:
        app_label = "accounts"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user"], condition=models.Q(token__isnull=False), name="one_key_of_pages")
        ]

    def __str__(self) -> str:
        return f"vl_{self.key} of {self.user_id}"


class Letter(models.Model):
    """A letter that waits for the mail server, or what is left of one that was sent.

    Attributes:
        content: the whole letter as for SMTP, encrypted: it may hold a link that changes a password. Emptied once sent.
        next_try: not before; while a process sends it, when another one may.
        problem: why the last try failed.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    time = models.DateTimeField(auto_now_add=True)
    recipients = models.CharField(max_length=1000)  # separated by ", "
    subject = models.CharField(max_length=200)
    content = models.BinaryField()
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    attempts = models.IntegerField(default=0)
    next_try = models.DateTimeField()
    sent = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        app_label = "accounts"
        indexes: ClassVar = [models.Index(fields=["state", "next_try"], name="letter_by_state")]

    def __str__(self) -> str:
        return f"{self.subject} to {self.recipients}"


class Message(models.Model):
    """What somebody wrote with the contact form, and the answer.

    Attributes:
        user: the person, if logged in. Deleting the account deletes the message.
        language: of the page, and of the answer's frame.
        answered_by: an administrator's e-mail address.
    """

    class State(models.TextChoices):
        NEW = "new"
        ANSWERED = "answered"
        CLOSED = "closed"

    time = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="messages")
    name = models.CharField(max_length=80, blank=True)
    email = models.EmailField()
    subject = models.CharField(max_length=120)
    text = models.TextField()
    language = models.CharField(max_length=8)
    state = models.CharField(max_length=8, choices=State, default=State.NEW)
    answer = models.TextField(blank=True)
    answered_by = models.CharField(max_length=254, blank=True)
    answered = models.DateTimeField(null=True)

    class Meta:
        app_label = "accounts"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["state", "-id"], name="message_by_state")]

    def __str__(self) -> str:
        return f"{self.subject} ({self.email})"
