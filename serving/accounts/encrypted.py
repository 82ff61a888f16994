"""Secrets in the tables of accounts: encrypted with the keys of `registry.encryption`, kept as text or bytes."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from django.db import transaction

from registry.core.errors import EncryptionError
from registry.encryption import columns
from registry.encryption.files import decrypt_bytes, encrypt_bytes
from registry.encryption.format import key_ids
from registry.encryption.keys import keyring

_SECOND_FACTOR = "second factor"


def hide(text: str) -> str:
    """A second factor's secret, encrypted, in base64."""
    return base64.b64encode(encrypt_bytes(text.encode(), _SECOND_FACTOR)).decode()


def show(hidden: str) -> str:
    """Raises EncryptionError."""
    return decrypt_bytes(base64.b64decode(hidden), _SECOND_FACTOR).decode()


def count_by_keys() -> Counter[frozenset[str]]:
    """How many of the secrets need which encryption keys, as `registry.encryption.rotation.count_by_keys` of files."""
    counted = Counter[frozenset[str]]()
    for one in _factors():
        counted.update(key_ids(base64.b64decode(text)) for text in _hidden(one.data))
    for rows, field in _columns():
        counted += columns.count_by_keys(rows, field)
    return counted


def renew() -> tuple[int, list[EncryptionError]]:
    """Encrypts everything anew with the first encryption key, so that an older one can be removed.

    People may log in, set up second factors and use recovery codes meanwhile.

    Returns:
        How many were changed, and the errors of those that could not be.
    """
    count, failed = _renew_factors()
    for rows, field in _columns():
        done, errors = columns.rotate(rows, field)
        count, failed = count + done, [*failed, *errors]
    return count, failed


def _renew_factors() -> tuple[int, list[EncryptionError]]:
    first, count, failed = keyring().first.id, 0, dict[int, EncryptionError]()
    while True:
        # Again after the first time: a page may have saved what it had read before.
        left = [
            one.pk
            for one in _factors()
            if one.pk not in failed and any(key_ids(base64.b64decode(text)) != {first} for text in _hidden(one.data))
        ]
        if not left:
            return count, list(failed.values())
        for key in left:
            try:
                count += _renew_factor(key)
            except EncryptionError as error:
                failed[key] = error


def _renew_factor(key: int) -> bool:
    """Under the lock that a log-in takes before it marks a recovery code as used. False: the factor is gone."""
    with transaction.atomic():
        one = _factors().select_for_update().filter(pk=key).first()
        if one is None:
            return False
        for name in {"secret", "seed"} & one.data.keys():
            one.data[name] = hide(show(one.data[name]))
        if "migrated_codes" in one.data:
            one.data["migrated_codes"] = [hide(show(code)) for code in one.data["migrated_codes"]]
        one.save(update_fields=["data"])
    return True


def _factors() -> Any:
    """Second factors with secrets: apps and recovery codes."""
    from allauth.mfa.models import Authenticator

    return Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN)


def _hidden(data: dict[str, Any]) -> list[str]:
    """The encrypted texts of a second factor."""
    return [*(data[name] for name in sorted({"secret", "seed"} & data.keys())), *data.get("migrated_codes", ())]


def _columns() -> list[tuple[Any, str]]:
    from serving.accounts.models import AccountKey, Letter

    waiting = Letter.objects.filter(state=Letter.State.WAITING)
    return [(AccountKey.objects.exclude(token=None), "token"), (waiting, "content")]
