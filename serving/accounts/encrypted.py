"""Secrets in the tables of accounts: encrypted with the keys of `registry.encryption`, kept as text or bytes."""

from __future__ import annotations

import base64
from collections import Counter

from registry.encryption.files import decrypt_bytes, encrypt_bytes
from registry.encryption.format import key_ids

_SECOND_FACTOR = "second factor"


def hide(text: str) -> str:
    """A second factor's secret, encrypted, in base64."""
    return base64.b64encode(encrypt_bytes(text.encode(), _SECOND_FACTOR)).decode()


def show(hidden: str) -> str:
    """Raises EncryptionError."""
    return decrypt_bytes(base64.b64decode(hidden), _SECOND_FACTOR).decode()


def count_by_keys() -> Counter[frozenset[str]]:
    """How many of the secrets need which encryption keys, as `registry.encryption.rotation.count_by_keys` of files."""
    from allauth.mfa.models import Authenticator

    from serving.accounts.models import AccountKey, Letter

    counted = Counter[frozenset[str]]()
    for one in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN):
        hidden = [one.data[name] for name in sorted({"secret", "seed"} & one.data.keys())]
        counted.update(key_ids(base64.b64decode(text)) for text in (*hidden, *one.data.get("migrated_codes", ())))
    for token in AccountKey.objects.exclude(token=None).values_list("token", flat=True):
        counted[key_ids(bytes(token or b""))] += 1
    for content in Letter.objects.filter(state=Letter.State.WAITING).values_list("content", flat=True):
        counted[key_ids(bytes(content))] += 1
    return counted


def renew() -> int:
    """Encrypts everything anew with the first encryption key, so that an older one can be removed. Returns how many."""
    from allauth.mfa.models import Authenticator

    from serving.accounts.models import AccountKey, Letter

    count = 0
    for one in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN):
        for name in {"secret", "seed"} & one.data.keys():
            one.data[name] = hide(show(one.data[name]))
        if "migrated_codes" in one.data:
            one.data["migrated_codes"] = [hide(show(code)) for code in one.data["migrated_codes"]]
        one.save(update_fields=["data"])
        count += 1
    for key in AccountKey.objects.exclude(token=None):
        key.token = encrypt_bytes(decrypt_bytes(bytes(key.token or b""), key.key), key.key)
        key.save(update_fields=["token"])
        count += 1
    for letter in Letter.objects.filter(state=Letter.State.WAITING):
        letter.content = encrypt_bytes(decrypt_bytes(bytes(letter.content), "letter"), "letter")
        letter.save(update_fields=["content"])
        count += 1
    return count
