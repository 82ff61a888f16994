"""The API keys of a person: at most what the account may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.db import IntegrityError, transaction

from registry.core.errors import NotFound, Refused
from registry.encryption.files import decrypt_bytes, encrypt_bytes
from serving.access import keys
from serving.access.keys import ALL, DEFAULT_ACTIONS, ApiKey
from serving.accounts import audit
from serving.accounts.models import AccountKey, Role, User

MOST_KEYS = 20
"""Most keys of one person that are valid at once."""
PAGES = "pages"
"""The name of the key that the pages use."""


def actions_for(user: User) -> tuple[str, ...]:
    """What a key of this person may do at most: an administrator's may also see every caller's predictions."""
    return (*DEFAULT_ACTIONS, "admin") if user.has_role(Role.ADMINISTRATOR) else DEFAULT_ACTIONS


def create(
    user: User,
    name: str,
    *,
    models: Sequence[str] = (ALL,),
    actions: Sequence[str] = DEFAULT_ACTIONS,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key and returns it with its token, which cannot be had again.

    Raises:
        Refused: an action is more than the account may do, the account is disabled, or it has too many keys.
        BadInput, NotFound: as `serving.access.keys.create`.
    """
    beyond = sorted(set(actions) - set(actions_for(user)))
    if beyond or not user.is_active:
        raise Refused(
            f"this account may not {', '.join(beyond) or 'make keys'}",
            expected=f"some of {', '.join(actions_for(user))}",
            fix="ask an administrator for another role",
        )
    if sum(one.state(_now()) == "active" for one in of(user)) >= MOST_KEYS:
        raise Refused(f"the account has {MOST_KEYS} keys", expected="fewer", fix="revoke one that is no longer needed")
    with transaction.atomic():
        quota = {"per_minute": user.per_minute, "per_month": user.per_month}
        api_key, token = keys.create(name, _owner(user), models=models, actions=actions, expires=expires, **quota)
        AccountKey.objects.create(user=user, key=api_key.id)
        audit.note(user, "key.create", api_key.caller, models=sorted(api_key.models), actions=sorted(api_key.actions))
    return api_key, token


def of(user: User) -> list[ApiKey]:
    """The keys that the person made, the oldest first, revoked and expired ones, too."""
    return [keys.get(id) for id in user.keys.filter(for_pages=False).order_by("pk").values_list("key", flat=True)]


def callers(user: User) -> list[str]:
    """How this person is named in the prediction log: all keys, also that of the pages."""
    return [f"vl_{id}" for id in user.keys.values_list("key", flat=True)]


def revoke(user: User, key_id: str) -> ApiKey:
    """Ends a key of the person. Raises NotFound: they have no such key."""
    _check_own(user, key_id)
    api_key = keys.revoke(key_id)
    audit.note(user, "key.revoke", api_key.caller)
    return api_key


def rotate(user: User, key_id: str) -> tuple[ApiKey, str]:
    """Gives a key of the person a new secret, and returns it with its token, which cannot be had again. The old secret
    is valid for `serving.access.keys.GRACE` more.

    Raises:
        NotFound: they have no such key.
        Refused: it is revoked or expired, or the account is disabled.
    """
    _check_own(user, key_id)
    if not user.is_active:
        raise Refused("the account is disabled", expected="an active account", fix="ask an administrator")
    api_key, token = keys.rotate(key_id)
    audit.note(user, "key.rotate", api_key.caller)
    return api_key, token


def _check_own(user: User, key_id: str) -> None:
    if not user.keys.filter(key=key_id.removeprefix("vl_"), for_pages=False).exists():
        raise NotFound("this account has no such key", expected="one of its keys", fix="look at the list of keys")


def revoke_all(user: User, *, beyond_role: bool = False) -> int:
    """Ends all keys of the person, or those that may do more than the account. Returns how many."""
    allowed, count = set(actions_for(user)), 0
    for id in user.keys.values_list("key", flat=True):
        api_key = keys.get(id)
        if api_key.revoked is None and not (beyond_role and api_key.actions <= allowed):
            keys.revoke(id)
            count += 1
    return count


def set_quota(user: User, quota: Mapping[str, int | None]) -> int:
    """Gives every key of the person that is not revoked a quota, as `serving.access.keys.create` has it. Returns how
    many."""
    valid = [id for id in user.keys.values_list("key", flat=True) if keys.get(id).revoked is None]
    for id in valid:
        keys.change(id, quota)
    return len(valid)


def token_of_pages(user: User) -> str:
    """The key that the pages use for this person, as the person's name at the router. Made at first use.

    Raises:
        Refused: the account is disabled.
        EncryptionError: the key cannot be decrypted.
    """
    if not user.is_active:
        raise Refused("the account is disabled", expected="an active account", fix="ask an administrator")
    found = user.keys.exclude(token=None).first()
    if found is not None and keys.get(found.key).state(_now()) == "active":
        return decrypt_bytes(bytes(found.token or b""), found.key).decode()
    with transaction.atomic():
        api_key, token = keys.create(PAGES, _owner(user), per_minute=user.per_minute, per_month=user.per_month)
    hidden = encrypt_bytes(token.encode(), api_key.id)
    try:
        with transaction.atomic():
            if found is not None:  # revoked, e.g. while the account was disabled; the log still has its id
                AccountKey.objects.filter(pk=found.pk).update(token=None)
            AccountKey.objects.create(user=user, key=api_key.id, for_pages=True, token=hidden)
    except IntegrityError:  # another request was faster
        keys.revoke(api_key.id)
        return token_of_pages(user)
    return token


def _owner(user: User) -> str:
    """No name: usage stays when the account is deleted."""
    return f"user {user.pk}"


def _now() -> float:
    return datetime.now(UTC).timestamp()
