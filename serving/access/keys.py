"""API keys: `vl_<id>_<secret>`. A key is shown once; only the hash of its secret is kept.

A slow hash (bcrypt, argon2) protects passwords, which can be guessed. Nobody can guess the 256 random bits of a secret,
so sha256 is as safe here and does not cost each request 100 ms. The digests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.core.errors import BadInput, NotFound, Refused
from serving.access.key_checks import ALL, check_key

if TYPE_CHECKING:
    from serving.access.models import Key

DEFAULT_ACTIONS = ("predict", "read", "feedback")
_COMES_WITH = {"read": ("admin",), "feedback": ("admin",), "tasks": ("predict", "admin")}
"""Actions that come with others. `tasks`, to look at tasks and to end them, comes only so."""
_TOKEN = re.compile(r"vl_([0-9a-f]{12})_([0-9a-f]{64})")
_ID = re.compile(r"(?:vl_)?([0-9a-f]{12})")
_ATTEMPTS = 20
_NOBODY = "0" * 64
GRACE, MAX_GRACE = timedelta(hours=24), timedelta(days=30)
"""How long the old secret of a rotated key is valid: by default, and at most."""


@dataclass(frozen=True)
class ApiKey:
    """A key and what it allows.

    Attributes:
        id: 12 hex digits.
        digest: sha256 of the secret, hex.
        models: names, or `*` for all.
        per_minute, per_month: requests; None means the setting's value, 0 no limit.
        created, expires, revoked: unix seconds; None means never.
        old_digest, old_until: of the secret before the last rotation, valid until then; "" and None: there is none.
        secret_until: when the secret ends that a request was made with; None: with the key.
        serial: grows with every change of any key.
    """

    id: str
    name: str
    owner: str
    digest: str
    models: frozenset[str]
    actions: frozenset[str]
    per_minute: int | None
    per_month: int | None
    created: float
    expires: float | None
    revoked: float | None
    serial: int
    old_digest: str = ""
    old_until: float | None = None
    secret_until: float | None = None

    @property
    def caller(self) -> str:
        """How the key is named in the prediction log."""
        return f"vl_{self.id}"

    def reaches(self, model: str) -> bool:
        return ALL in self.models or model in self.models

    def may(self, action: str) -> bool:
        return not self.actions.isdisjoint((action, *_COMES_WITH.get(action, ())))

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


def parse(token: str) -> tuple[str, str] | None:
    """A token's id and secret; None for a text that is not a key of ours."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def matching(api_key: ApiKey | None, secret: str, now: float) -> ApiKey | None:
    """The key, if the secret is its own, or its old one while that is valid: then with `secret_until`.

    Takes as long for a key that does not exist.
    """
    digest = _digest(secret)
    is_new = hmac.compare_digest(digest, api_key.digest if api_key else _NOBODY)
    is_old = hmac.compare_digest(digest, (api_key.old_digest if api_key else "") or _NOBODY)
    if api_key is None or is_new:
        return api_key if is_new else None
    valid = is_old and api_key.old_until is not None and now < api_key.old_until
    return replace(api_key, secret_until=api_key.old_until) if valid else None


def create(
    name: str,
    owner: str = "",
    *,
    models: Sequence[str] = (ALL,),
    actions: Sequence[str] = DEFAULT_ACTIONS,
    per_minute: int | None = None,
    per_month: int | None = None,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key and returns it with its token, which cannot be had again.

    Raises:
        BadInput: an unknown action, no action, no model, a name that is empty or too long, or an expiry in the past.
        NotFound: an unknown model.
    """
    check_key(name, owner, actions, models, expires)
    secret = secrets.token_hex(32)
    fields = {
        "id": secrets.token_hex(6),
        "name": name,
        "owner": owner,
        "digest": _digest(secret),
        "model_names": sorted(set(models)),
        "actions": sorted(set(actions)),
        "per_minute": per_minute,
        "per_month": per_month,
        "created": datetime.now(UTC),
        "expires": expires,
    }
    api_key = _numbered(None, fields)
    return api_key, f"{api_key.caller}_{secret}"


def change(key_id: str, changes: Mapping[str, Any]) -> ApiKey:
    """Changes a key. Routers follow within two seconds.

    Args:
        changes: new values by the names of `create`'s arguments; what is not named stays.

    Raises:
        BadInput, NotFound: as `create`; nothing is changed.
        Refused: it is revoked.
    """
    api_key = _unrevoked(key_id)
    if not changes:
        raise BadInput("nothing is to be changed", expected="an option", fix="e.g. --per-minute 120")
    now = {name: changes.get(name, getattr(api_key, name)) for name in ("name", "owner", "actions", "models")}
    check_key(**now, expires=changes.get("expires"))
    fields = dict(changes)
    if "models" in fields:
        fields["model_names"] = sorted(set(fields.pop("models")))
    if "actions" in fields:
        fields["actions"] = sorted(set(fields["actions"]))
    return _numbered(api_key.id, fields)


def rotate(key_id: str, grace: timedelta = GRACE) -> tuple[ApiKey, str]:
    """Gives a key a new secret, and returns it with its token, which cannot be had again.

    The old secret is valid for `grace` more; one that was older ends now.

    Raises:
        NotFound: as `get`.
        Refused: it is revoked, or expired.
        BadInput: the grace time is negative, or longer than `MAX_GRACE`.
    """
    api_key = _unrevoked(key_id)
    now = datetime.now(UTC)
    if api_key.state(now.timestamp()) == "expired":
        raise Refused(f"the key {api_key.caller} is expired", expected="a valid key", fix="create another one")
    if not timedelta(0) <= grace <= MAX_GRACE:
        raise BadInput(
            f"the grace time is {grace.total_seconds():,.0f} s",
            expected=f"0 to {MAX_GRACE.total_seconds():,.0f} s",
            fix="24 hours are usual",
        )
    secret = secrets.token_hex(32)
    fields = {"digest": _digest(secret), "old_digest": api_key.digest, "old_until": now + grace}
    return _numbered(api_key.id, fields), f"{api_key.caller}_{secret}"


def _unrevoked(key_id: str) -> ApiKey:
    api_key = get(key_id)
    if api_key.revoked is not None:
        raise Refused(f"the key {api_key.caller} is revoked", expected="a valid key", fix="create another one")
    return api_key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def revoke(key_id: str) -> ApiKey:
    """Ends a key. Routers refuse it within two seconds. A second call changes nothing. Raises NotFound."""
    api_key = get(key_id)
    return api_key if api_key.revoked is not None else _numbered(api_key.id, {"revoked": datetime.now(UTC)})


def get(key_id: str) -> ApiKey:
    """A key by its id (with or without `vl_`).

    Raises:
        NotFound: there is no such key.
        BadInput: a whole key. Its secret is not repeated.
    """
    if (whole := _TOKEN.fullmatch(key_id)) is not None:
        raise BadInput(
            "this is a whole key, with its secret",
            expected="its part before the secret",
            fix=f"write vl_{whole[1]}; `GET /v1/usage` with the whole key says whether it is valid",
        )
    database.setup()
    from serving.access.models import Key

    found = _ID.fullmatch(key_id)
    row = Key.objects.filter(id=found[1]).first() if found else None
    if row is None:
        raise NotFound(
            f"there is no key {key_id[:15]!r}",
            expected="the part of a key before its secret, e.g. vl_0123456789ab",
            fix="`visionloop keys list --all` shows them",
        )
    return _api_key(row)


def every(after: int = 0) -> list[ApiKey]:
    """All keys, the oldest first. `after`: only those that changed since this serial."""
    database.setup()
    from serving.access.models import Key

    return [_api_key(row) for row in Key.objects.filter(serial__gt=after).order_by("created", "id")]


def _numbered(key_id: str | None, fields: dict[str, Any]) -> ApiKey:
    """Writes a row with the next serial. Where another process takes that number, it tries the one after."""
    database.setup()
    from django.db import IntegrityError, transaction
    from django.db.models import Max

    from serving.access.models import Key

    for attempt in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                serial = (Key.objects.aggregate(last=Max("serial"))["last"] or 0) + 1
                if key_id is None:
                    return _api_key(Key.objects.create(**fields, serial=serial))
                Key.objects.filter(id=key_id).update(**fields, serial=serial)
                return _api_key(Key.objects.get(id=key_id))
        except IntegrityError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _api_key(row: Key) -> ApiKey:
    same = ("id", "name", "owner", "digest", "per_minute", "per_month", "serial", "old_digest")
    return ApiKey(
        **{name: getattr(row, name) for name in same},
        models=frozenset(row.model_names),
        actions=frozenset(row.actions),
        created=row.created.timestamp(),
        expires=row.expires.timestamp() if row.expires else None,
        revoked=row.revoked.timestamp() if row.revoked else None,
        old_until=row.old_until.timestamp() if row.old_until else None,
    )
