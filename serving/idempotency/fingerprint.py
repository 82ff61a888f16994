"""What a request asks, as a hash: a repetition has the same.

A form's boundary is left out of it: HTTP libraries draw another one for every request.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from email.message import Message


class Fingerprint:
    """The sha256 of a request. Feed it the body, then ask for `hexdigest`.

    Attributes:
        is_complete: whether the body was fed to its end.
    """

    def __init__(self, method: str, path: str, query: str, content_type: str, accept: str) -> None:
        header = Message()
        header["content-type"] = content_type
        boundary = header.get_param("boundary") if content_type else None
        self._boundary = boundary.encode("latin-1", "replace") if isinstance(boundary, str) and boundary else b""
        kind = content_type.partition(";")[0].strip().lower()
        self._hash = hashlib.sha256("\n".join((method, path, query, kind, accept, "")).encode())
        self._tail = b""
        self.is_complete = False

    def update(self, piece: bytes) -> None:
        if not self._boundary:
            self._hash.update(piece)
            return
        *before, last = (self._tail + piece).split(self._boundary)
        for part in before:
            self._hash.update(part)
        kept = len(self._boundary) - 1  # the beginning of a boundary may be there
        self._hash.update(last[: max(len(last) - kept, 0)])
        self._tail = last[max(len(last) - kept, 0) :]

    async def following(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same pieces, fed as they pass."""
        async for piece in body:
            self.update(piece)
            yield piece
        self.is_complete = True

    def hexdigest(self) -> str:
        whole = self._hash.copy()
        whole.update(self._tail)
        return whole.hexdigest()
