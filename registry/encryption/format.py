"""The format of an encrypted file: our header, then a stream in Tink's AES256-GCM-HKDF-1MB format.

    magic and format version     8 bytes
    slot 0, slot 1               2 x 68 bytes   the data key, wrapped (registry.encryption.keys)
    Tink's stream                40 bytes of head, then segments of 1 MiB, each with a tag of 16 bytes

Both slots hold the same data key. Rotation writes one, then the other, so that one of them is whole at any moment. The
stream's associated data is a name that the caller gives: a file that is swapped or renamed is refused.

Source: developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming.
"""

from __future__ import annotations

import os

from registry.core.errors import EncryptionError, MissingKey
from registry.encryption.keys import ID_BYTES, KEY_BYTES, SLOT_BYTES, TAG_BYTES, Keyring

MAGIC = b"\x89VLENC\n\x01"
HEADER_BYTES = len(MAGIC) + 2 * SLOT_BYTES
SALT_BYTES, PREFIX_BYTES = 32, 7
STREAM_HEAD_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
SEGMENT_BYTES = 1 << 20
"""Bytes of a segment in the file, with its tag. The first one is shorter by the stream's head."""
PREAMBLE_BYTES = HEADER_BYTES + STREAM_HEAD_BYTES


def room(number: int) -> int:
    """Most plain bytes in segment `number`."""
    return SEGMENT_BYTES - TAG_BYTES - (0 if number else STREAM_HEAD_BYTES)


def start(number: int) -> int:
    """The first byte of segment `number` in the file."""
    return HEADER_BYTES + (number * SEGMENT_BYTES or STREAM_HEAD_BYTES)


def plain_start(number: int) -> int:
    """The first plain byte of segment `number`."""
    return number * (SEGMENT_BYTES - TAG_BYTES) - (STREAM_HEAD_BYTES if number else 0)


class Stream:
    """Seals and opens the segments of one file.

    Args:
        data_key: 32 bytes, of this file only.
        head: the stream's head, 40 bytes.
        name: what the caller calls the file, e.g. the id of an upload.
    """

    def __init__(self, data_key: bytes, head: bytes, name: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        salt, self._prefix = head[1 : 1 + SALT_BYTES], head[1 + SALT_BYTES :]
        self._cipher = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, name.encode()).derive(data_key))

    def seal(self, number: int, plain: bytes | bytearray | memoryview, last: bool) -> bytes:
        """A segment for the file."""
        return self._cipher.encrypt(self._nonce(number, last), plain, None)

    def open(self, number: int, sealed: bytes, last: bool) -> bytes | None:
        """The plain bytes of a segment; None if it is not what was written there."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < TAG_BYTES:
            return None
        try:
            return self._cipher.decrypt(self._nonce(number, last), sealed, None)
        except InvalidTag:
            return None

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + bytes([last])


def new_preamble(ring: Keyring, name: str) -> tuple[bytes, Stream]:
    """Header and stream head of a new file, and its stream."""
    data_key = os.urandom(KEY_BYTES)
    slot = ring.first.wrap(data_key)
    head = bytes([STREAM_HEAD_BYTES]) + os.urandom(SALT_BYTES + PREFIX_BYTES)
    return MAGIC + slot + slot + head, Stream(data_key, head, name)


def is_encrypted(begin: bytes) -> bool:
    """Whether a file that begins like this is in this format."""
    return begin[: len(MAGIC)] == MAGIC


def slots(header: bytes) -> tuple[bytes, bytes]:
    """The two slots of a header."""
    first = len(MAGIC)
    return header[first : first + SLOT_BYTES], header[first + SLOT_BYTES : HEADER_BYTES]


def key_ids(header: bytes) -> frozenset[str]:
    """Ids of the keys that wrap a file's data key: two in the middle of a rotation."""
    return frozenset(slot[:ID_BYTES].hex() for slot in slots(header))


def open_slot(slot: bytes, ring: Keyring) -> bytes | None:
    """The data key in a slot; None if no key opens it."""
    key = ring.find(slot[:ID_BYTES].hex())
    return key.unwrap(slot) if key else None


def unwrap(header: bytes, ring: Keyring, what: str) -> bytes:
    """The data key of a file.

    Args:
        what: the file, for messages.

    Raises:
        MissingKey: its key is not here.
        EncryptionError: it is not such a file, or its header is damaged.
    """
    if not is_encrypted(header) or len(header) < HEADER_BYTES:
        raise EncryptionError(
            f"{what} is not an encrypted file, or is cut in its header",
            expected="a file that visionloop encrypted",
            fix="restore it from a backup",
        )
    for slot in slots(header):
        if (data_key := open_slot(slot, ring)) is not None:
            return data_key
    missing = sorted(one for one in key_ids(header) if ring.find(one) is None)
    if missing:
        raise MissingKey(
            f"{what} is encrypted with key {' or '.join(missing)}, which is not here",
            expected=f"one of the keys {', '.join(key.id for key in ring.keys)}",
            fix="put that key back, as a line of the key file (`visionloop encryption status` names it); "
            "without it the file cannot be read",
        )
    raise damaged(what, "its header is")


def read_stream(preamble: bytes, ring: Keyring, name: str, what: str) -> Stream:
    """The stream of a file that begins with `preamble`. Raises EncryptionError, as `unwrap`."""
    data_key = unwrap(preamble[:HEADER_BYTES], ring, what)
    head = preamble[HEADER_BYTES:]
    if len(head) < STREAM_HEAD_BYTES or head[0] != STREAM_HEAD_BYTES:
        raise damaged(what, "its header is")
    return Stream(data_key, head, name)


def damaged(what: str, where: str) -> EncryptionError:
    """The error of a file whose bytes are not those that were written."""
    return EncryptionError(
        f"{what} cannot be decrypted: {where} not what was written there",
        expected="the whole file, unchanged, in its place and under its name",
        fix="restore it from a backup; if nobody moved or changed it, check the disk",
    )
