"""API keys: `vl_<id>_<secret>`. A key is shown once; only the hash of its secret is kept.

A slow hash (bcrypt, argon2) protects passwords, which can be guessed. Nobody can guess the 256 random bits of a secret,
so sha256 is as safe here and does not cost each request 100 ms. The digests are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.core import database
from registry.core.errors import BadInput, MissingService, NotFound, Unauthorized

if TYPE_CHECKING:
    from serving.access.models import Key

ALL = "*"
ACTIONS = {
    "predict": "ask models: predict, render, explain, embed; tasks, and the key's own results",
    "read": "look at the key's own predictions, one by one and as a list",
    "feedback": "give labels for the key's own predictions, and delete them",
    "admin": "see every caller's predictions, tasks and usage, and the services' metrics",
}
DEFAULT_ACTIONS = ("predict", "read", "feedback")
_COMES_WITH = {"read": ("admin",), "feedback": ("admin",), "tasks": ("predict", "admin")}
"""Actions that come with others. `tasks`, to look at tasks and to end them, comes only so."""
_TOKEN = re.compile(r"vl_([0-9a-f]{12})_([0-9a-f]{64})")
_ID = re.compile(r"(?:vl_)?([0-9a-f]{12})")
_ATTEMPTS = 20
_NOBODY = "0" * 64


@dataclass(frozen=True)
class ApiKey:
    """A key and what it allows.

    Attributes:
        id: 12 hex digits.
        digest: sha256 of the secret, hex.
        models: names, or `*` for all.
        per_minute, per_month: requests; None means the setting's value, 0 no limit.
        created, expires, revoked: unix seconds; None means never.
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


def matches(api_key: ApiKey | None, secret: str) -> bool:
    """Whether the secret is the key's. Takes as long for a key that does not exist."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return hmac.compare_digest(digest, api_key.digest if api_key else _NOBODY) and api_key is not None


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
    api_key = _numbered(None, fields)
    return api_key, f"vl_{api_key.id}_{secret}"


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


class Keyring:
    """The keys of a router, in memory and brought up to date by polling, so that no request waits for the database.

    While the database is away the known keys stay.
    """

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._serial = 0
        self._read = False

    def refresh(self) -> None:
        """Reads the keys that changed. Call it from one thread. Raises what the database raises."""
        changed = every(after=self._serial)
        self._read = True
        for api_key in changed:
            self._keys[api_key.id] = api_key
            self._serial = max(self._serial, api_key.serial)

    def find(self, token: str) -> ApiKey:
        """The key of a token that is valid now.

        Raises:
            Unauthorized: there is no such key, its secret is another, or it is expired or revoked.
            MissingService: the keys could not be read since the router started.
        """
        parsed = parse(token)
        if parsed is None:
            raise _unauthorized("the text is not a key")
        api_key = self._keys.get(parsed[0])
        if not matches(api_key, parsed[1]) or api_key is None:
            if not self._read:
                raise MissingService(
                    "the keys could not be read yet", expected="a database that answers", fix="try again in a moment"
                )
            raise _unauthorized("the key is not known")
        state = api_key.state(time.time())
        if state != "active":
            since = api_key.revoked if state == "revoked" else api_key.expires
            when = f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since is not None else ""
            raise _unauthorized(f"the key is {state}{when}")
        return api_key


def _unauthorized(found: str) -> Unauthorized:
    return Unauthorized(
        found,
        expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`, with a key that is valid",
        fix="ask the operator for a key (`visionloop keys create`)",
    )


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


def _check(name: str, owner: str, actions: Sequence[str], models: Sequence[str], expires: datetime | None) -> None:
    unknown = sorted(set(actions) - ACTIONS.keys())
    if unknown or not actions:
        raise BadInput(
            f"the actions are {', '.join(unknown) or 'none'}",
            expected=f"some of {', '.join(ACTIONS)}",
            fix="name the actions that the key is for",
        )
    if not models:
        raise BadInput(
            "the key is for no model", expected="names of models, or * for all", fix="e.g. --model fruit_features"
        )
    for model in models:
        if model != ALL:
            catalog.get(model)
    if not 0 < len(name.strip()) <= 64 or len(owner) > 128 or not f"{name}{owner}".isprintable():
        raise BadInput(
            f"the name is {name[:80]!r}, the owner {owner[:140]!r}",
            expected="a name of 1 to 64 characters, an owner of at most 128",
            fix="write in a few words what the key is for",
        )
    if expires is not None and expires <= datetime.now(UTC):
        raise BadInput(
            f"the key expires at {expires:%Y-%m-%d %H:%M} UTC",
            expected="a time in the future",
            fix="e.g. --expires 90d",
        )


def _api_key(row: Key) -> ApiKey:
    same = ("id", "name", "owner", "digest", "per_minute", "per_month", "serial")
    return ApiKey(
        **{name: getattr(row, name) for name in same},
        models=frozenset(row.model_names),
        actions=frozenset(row.actions),
        created=row.created.timestamp(),
        expires=row.expires.timestamp() if row.expires else None,
        revoked=row.revoked.timestamp() if row.revoked else None,
    )
