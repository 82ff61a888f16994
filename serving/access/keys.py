"""API keys: `vl_<id>_<secret>`, shown once, kept as a hash.

The secret is 256 random bits. A slow hash (bcrypt, argon2) protects passwords, which people choose from few; nobody
can try 2**256 secrets, so sha256 is as safe here and does not cost each request 100 ms. The id finds the row; the
digests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.core import database
from registry.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from serving.access.models import Key

ALL = "*"
ACTIONS = {
    "predict": "ask models: predict, render, explain, embed; tasks, and the key's own results",
    "read": "look at the key's own predictions",
    "feedback": "give labels for the key's own predictions",
    "admin": "see every caller's predictions, tasks and usage, and the services' metrics",
}
USUAL = ("predict", "read", "feedback")
_COMES_WITH = {"read": ("admin",), "feedback": ("admin",), "tasks": ("predict", "admin")}
"""Actions that others bring. `tasks`, to look at tasks and to end them, is granted by them only."""
_TOKEN = re.compile(r"vl_([0-9a-f]{12})_([0-9a-f]{64})")
_ID = re.compile(r"(?:vl_)?([0-9a-f]{12})")
_ATTEMPTS = 20
_NOBODY = "0" * 64


@dataclass(frozen=True)
class ApiKey:
    """What a key allows.

    Attributes:
        id: 12 hex digits.
        digest: sha256 of the secret, hex.
        models: names, or `*` for all.
        per_minute, per_month: requests; None: as the setting says; 0: no limit.
        expires: unix seconds; None: never.
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
    """A token's id and secret; None if it is not one of ours."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def matches(grant: ApiKey | None, secret: str) -> bool:
    """Whether the secret belongs to the grant; takes as long when there is no such grant."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return hmac.compare_digest(digest, grant.digest if grant else _NOBODY) and grant is not None


def create(
    name: str,
    owner: str = "",
    *,
    models: Sequence[str] = (ALL,),
    actions: Sequence[str] = USUAL,
    per_minute: int | None = None,
    per_month: int | None = None,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key; the token is returned here and never again.

    Raises:
        BadInput: an unknown action, no action, no model, a name that is empty or too long, or an expiry in the past.
        NotFound: an unknown model.
    """
    _check(name, owner, actions, models, expires)
    secret = secrets.token_hex(32)
    fields = {
        "id": secrets.token_hex(6),
        "name": name,
        "owner": owner,
        "digest": hashlib.sha256(secret.encode()).hexdigest(),
        "model_names": sorted(set(models)),
        "actions": sorted(set(actions)),
        "per_minute": per_minute,
        "per_month": per_month,
        "created": datetime.now(UTC),
        "expires": expires,
    }
    grant = _numbered(None, fields)
    return grant, f"vl_{grant.id}_{secret}"


def revoke(key_id: str) -> ApiKey:
    """Ends a key; routers refuse it within two seconds. Raises NotFound. A second time changes nothing."""
    grant = get(key_id)
    return grant if grant.revoked is not None else _numbered(grant.id, {"revoked": datetime.now(UTC)})


def get(key_id: str) -> ApiKey:
    """A key by its id (with or without `vl_`).

    Raises:
        NotFound: there is no such key.
        BadInput: a whole key. Its secret is not repeated.
    """
    if (whole := _TOKEN.fullmatch(key_id)) is not None:
        raise BadInput(
            "this is a whole key, with its secret",
            expected="the part in front of the secret, which is not secret",
            fix=f"name it as vl_{whole[1]}; `GET /v1/usage` with the whole key says whether it is valid",
        )
    database.setup()
    from serving.access.models import Key

    found = _ID.fullmatch(key_id)
    row = Key.objects.filter(id=found[1]).first() if found else None
    if row is None:
        raise NotFound(
            f"there is no key {key_id[:15]!r}",
            expected="the part of a key in front of its secret, e.g. vl_0123456789ab",
            fix="`visionloop keys list` shows all",
        )
    return _grant(row)


def every(after: int = 0) -> list[ApiKey]:
    """All keys, the oldest first; with `after`, those that changed since that serial."""
    database.setup()
    from serving.access.models import Key

    return [_grant(row) for row in Key.objects.filter(serial__gt=after).order_by("created", "id")]


def _numbered(key_id: str | None, fields: dict[str, Any]) -> ApiKey:
    """Writes a row with the next serial. Who loses the race for a number takes the next one."""
    database.setup()
    from django.db import IntegrityError, transaction
    from django.db.models import Max

    from serving.access.models import Key

    for attempt in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                serial = (Key.objects.aggregate(last=Max("serial"))["last"] or 0) + 1
                if key_id is None:
                    return _grant(Key.objects.create(**fields, serial=serial))
                Key.objects.filter(id=key_id).update(**fields, serial=serial)
                return _grant(Key.objects.get(id=key_id))
        except IntegrityError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _check(name: str, owner: str, actions: Sequence[str], models: Sequence[str], expires: datetime | None) -> None:
    unknown = sorted(set(actions) - ACTIONS.keys())
    if unknown or not actions:
        raise BadInput(
            f"the actions are {', '.join(unknown) or 'none'}",
            expected=f"some of {', '.join(ACTIONS)}",
            fix="name those that the key is for",
        )
    if not models:
        raise BadInput("the key is for no model", expected="names of models, or * for all", fix="name them")
    for model in models:
        if model != ALL:
            catalog.get(model)
    if not 0 < len(name.strip()) <= 64 or len(owner) > 128 or not f"{name}{owner}".isprintable():
        raise BadInput(
            f"the name is {name[:80]!r}, the owner {owner[:140]!r}",
            expected="a name of 1 to 64 characters, an owner of at most 128",
            fix="say in a few words what the key is for",
        )
    if expires is not None and expires <= datetime.now(UTC):
        raise BadInput(f"the key expires at {expires:%Y-%m-%d %H:%M} UTC", expected="a time to come", fix="correct it")


def _grant(row: Key) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        owner=row.owner,
        digest=row.digest,
        models=frozenset(row.model_names),
        actions=frozenset(row.actions),
        per_minute=row.per_minute,
        per_month=row.per_month,
        created=row.created.timestamp(),
        expires=row.expires.timestamp() if row.expires else None,
        revoked=row.revoked.timestamp() if row.revoked else None,
        serial=row.serial,
    )
