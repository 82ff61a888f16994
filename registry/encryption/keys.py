"""Encryption keys. Each file has a data key of its own; an encryption key wraps it (AES-GCM).

The keys come from the setting `encryption_key`, or from a key file: a line for each key, 32 bytes in base64. The first
key wraps, all unwrap. The key file `var/encryption.key` is made when it is first needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from registry.core.errors import SettingsError
from registry.core.files import disk_errors
from registry.core.settings import settings

logger = logging.getLogger("visionloop.encryption")

KEY_BYTES = 32
ID_BYTES, NONCE_BYTES, TAG_BYTES = 8, 12, 16
SLOT_BYTES = ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES
"""Size of a wrapped data key: id of the wrapping key, nonce, ciphertext, tag."""
_CONTEXT = b"visionloop data key 1"
_FIX = "make one with `openssl rand -base64 32`"


@dataclass(frozen=True)
class Key:
    """An encryption key: 32 bytes. Its id is derived from it and tells nothing about it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """16 hex digits."""
        return hmac.digest(self.secret, b"visionloop key id", hashlib.sha256)[:ID_BYTES].hex()

    def wrap(self, data_key: bytes) -> bytes:
        """A slot with the data key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        identity, nonce = bytes.fromhex(self.id), os.urandom(NONCE_BYTES)
        return identity + nonce + AESGCM(self.secret).encrypt(nonce, data_key, _CONTEXT + identity)

    def unwrap(self, slot: bytes) -> bytes | None:
        """The data key in a slot; None if another key wrapped it, or the slot was changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        identity, nonce = slot[:ID_BYTES], slot[ID_BYTES : ID_BYTES + NONCE_BYTES]
        try:
            return AESGCM(self.secret).decrypt(nonce, slot[ID_BYTES + NONCE_BYTES :], _CONTEXT + identity)
        except InvalidTag:
            return None


@dataclass(frozen=True)
class Keyring:
    """The keys of this process. The first wraps, all unwrap."""

    keys: tuple[Key, ...]

    @property
    def first(self) -> Key:
        return self.keys[0]

    def find(self, key_id: str) -> Key | None:
        return next((key for key in self.keys if key.id == key_id), None)


def key_file() -> Path:
    """Where the keys are, unless the setting `encryption_key` holds them."""
    return settings().encryption_key_path


def keyring() -> Keyring:
    """The keys as they are now: a key file that changes is read anew.

    Raises:
        SettingsError: there is no key, or something else than keys.
        StorageError: the key file cannot be made.
    """
    if settings().encryption_key:
        return _parse(settings().encryption_key, "the setting encryption_key")
    path = key_file()
    while True:
        with suppress(FileNotFoundError):
            try:
                state = path.stat()
                return _read(path, state.st_ino, state.st_mtime_ns, state.st_size)
            except PermissionError as error:
                raise SettingsError(
                    f"the key file {path} may not be read", expected="a file of the user who runs this", fix="chown it"
                ) from error
        if settings().encryption_key_file:
            # A key made here might be hidden by the right one later, e.g. when the disk with it is mounted again.
            raise SettingsError(
                f"there is no key file {path}",
                expected="the file that the setting encryption_key_file names",
                fix=f"restore it, or mount the disk that holds it; only for a new installation: "
                f"(umask 077; openssl rand -base64 32 > {path})",
            )
        _publish(path, _new_line(), replace=False)
        logger.warning("made the encryption key %s: back it up, apart from the data (docs/privacy.md)", path)


def add_key() -> Key:
    """Makes a new key, which becomes the first one of the key file.

    Raises:
        SettingsError: the keys are in the setting `encryption_key`, which only people change.
        StorageError: the key file cannot be written.
    """
    if settings().encryption_key:
        raise SettingsError(
            "the keys are in the setting encryption_key, and all files use its first key",
            expected="a new key in front of it, with a comma between them",
            fix=f"{_FIX}, put it in front of the setting, restart the stack, and run `visionloop encryption rotate`",
        )
    keyring()  # makes the file, or complains about it
    path = key_file()
    _publish(path, _new_line() + path.read_text(encoding="ascii"), replace=True)
    return keyring().first


def _new_line() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii") + "\n"


def _publish(path: Path, text: str, *, replace: bool) -> None:
    """Writes a key file for its owner only, durably and in one step. Without `replace`, one that is there stays."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            if replace:
                os.replace(draft, path)
            else:
                with suppress(FileExistsError):  # another process was faster
                    os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@lru_cache(maxsize=4)
def _read(path: Path, *state: int) -> Keyring:
    return _parse(path.read_bytes().decode("ascii", "replace"), str(path))


@lru_cache(maxsize=4)
def _parse(text: str, source: str) -> Keyring:
    """Keys of base64 texts with commas or white space between them; text after # is ignored."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    texts = " ".join(lines).replace(",", " ").split()
    keys = []
    for number, one in enumerate(texts, 1):
        try:
            secret = base64.b64decode(one, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise SettingsError(
                f"key {number} in {source} is not a key", expected=f"{KEY_BYTES} bytes in base64", fix=_FIX
            )
        keys.append(Key(secret))
    if not keys:
        raise SettingsError(
            f"there is no key in {source}",
            expected=f"{KEY_BYTES} bytes in base64",
            fix=f"restore it from its backup; only for a new installation: {_FIX}",
        )
    return Keyring(tuple(keys))
