"""Accounts, as an administrator changes them: the command line and the back office do the same through these functions.

Each leaves a line in the audit trail. `by` is who does it: a user, or `audit.command_line()`.
"""

from __future__ import annotations

import secrets

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from registry.core.errors import BadInput, NotFound, Refused
from serving.accounts import audit, keys
from serving.accounts.models import Role, User

FIRST_ADMINISTRATOR = "admin@localhost"


def find(email: str) -> User:
    """The account of an address. Raises NotFound."""
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise NotFound(
            f"there is no account {email[:80]!r}",
            expected="the e-mail address of an account",
            fix="`visionloop users list` shows them",
        )
    return user


def create(email: str, role: str = Role.USER, *, by: User | str, password: str = "") -> tuple[User, str]:
    """Makes an account whose address counts as confirmed. Returns it with its password, a random one by default.

    Raises:
        BadInput: not an e-mail address, no role of that name, or a password that is too weak.
        Refused: the address has an account.
    """
    email, chosen = email.strip().lower(), password or secrets.token_urlsafe(12)
    try:
        validate_email(email)
        validate_password(chosen)
    except ValidationError as error:
        raise BadInput(
            " ".join(error.messages).rstrip("."),
            expected="an e-mail address, and a password that is not easily guessed",
            fix="e.g. `visionloop users create anna@example.org`",
        ) from error
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, chosen, role=_role(role))
            EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
            audit.note(by, "user.create", user, role=role)
    except IntegrityError as error:
        raise Refused(
            f"there is an account {email} already", expected="a new address", fix="use it, or choose another"
        ) from error
    return user, chosen


def first_administrator() -> tuple[User, str] | None:
    """Makes an administrator where there is none, and returns it with its password; else None."""
    if User.objects.filter(role=Role.ADMINISTRATOR).exists():
        return None
    try:
        return create(FIRST_ADMINISTRATOR, Role.ADMINISTRATOR, by=audit.command_line())
    except Refused:  # somebody made it a moment ago, or took its role away
        return None


def set_role(user: User, role: str, *, by: User | str, why: str = "") -> None:
    """Gives another role. Keys that may do more than the new role end, and so do the sessions.

    Raises:
        BadInput: no role of that name.
        Refused: it is the last administrator.
    """
    chosen = _role(role)
    if chosen == user.role:
        return
    _keep_one(user, chosen)
    with transaction.atomic():
        before, user.role = user.role, chosen
        user.save(update_fields=["role"])
        revoked = keys.revoke_all(user, beyond_role=True)
        audit.note(by, "user.role", user, why, before=before, after=chosen, keys_revoked=revoked)
    end_sessions(user)


def set_active(user: User, active: bool, *, by: User | str, why: str = "") -> None:
    """Disables an account, which ends its sessions and keys, or enables it again. Raises Refused: as `set_role`."""
    if user.is_active == active:
        return
    if not active:
        _keep_one(user, Role.USER)
    with transaction.atomic():
        user.is_active = active
        user.save(update_fields=["is_active"])
        revoked = 0 if active else keys.revoke_all(user)
        audit.note(by, "user.enable" if active else "user.disable", user, why, keys_revoked=revoked)
    if not active:
        end_sessions(user)


def set_quota(user: User, *, per_minute: int | None, per_month: int | None, by: User | str, why: str = "") -> int:
    """Gives each key of the person, also those that the person makes later, a quota of requests.

    Args:
        per_minute, per_month: requests of one key; None: as the settings say, 0: no limit.

    Returns how many keys were changed. Routers follow within two seconds.
    """
    quota = {"per_minute": per_minute, "per_month": per_month}
    with transaction.atomic():
        user.per_minute, user.per_month = per_minute, per_month
        user.save(update_fields=list(quota))
        changed = keys.set_quota(user, quota)
        audit.note(by, "user.quota", user, why, **quota, keys=changed)
    return changed


def reset_second_factor(user: User, *, by: User | str, why: str = "") -> int:
    """Removes authenticator app, security keys and recovery codes, for somebody who lost them. Returns how many."""
    with transaction.atomic():
        count = Authenticator.objects.filter(user=user).delete()[0]
        audit.note(by, "user.reset-second-factor", user, why, removed=count)
    end_sessions(user)
    return count


def end_sessions(user: User) -> None:
    """Logs the person out everywhere."""
    for session in UserSession.objects.filter(user=user):
        session.end()


def check_not_last(user: User) -> None:
    """Raises Refused if nobody could administer without this account."""
    _keep_one(user, Role.USER)


def _keep_one(user: User, role: str) -> None:
    others = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(pk=user.pk)
    if user.role == Role.ADMINISTRATOR and user.is_active and role != Role.ADMINISTRATOR and not others.exists():
        raise Refused(
            f"{user.email} is the last administrator",
            expected="another one, so that somebody can administer",
            fix="`visionloop users role EMAIL administrator` makes one",
        )


def _role(role: str) -> Role:
    name = "" if role == "user" else role
    if name not in Role.values:
        raise BadInput(
            f"there is no role {role[:40]!r}",
            expected=", ".join(str(label) for label in Role.labels),
            fix="name one of them",
        )
    return Role(name)
