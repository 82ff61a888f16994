"""Answers with an encrypted file: decrypted on the way, the whole of it or the range that the caller asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from registry.encryption.files import Reader, is_encrypted_file

AT_ONCE_BYTES = 1 << 18
"""Most bytes that are read before the answer begins: small pictures, of which a page may have dozens. Piece by piece
they take twice the time."""
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def file_response(request: Request, path: Path, name: str, headers: Mapping[str, str], media: str) -> Response:
    """The answer to GET or HEAD: 200, 206 for a range, or 416 for one that the file does not have.

    Only the segments of the range are decrypted, one at a time. Reads the disk: call it in a thread. A file from
    before encryption is sent as it is. Of several ranges, the whole file is sent, as RFC 9110 (14.2) allows.

    Args:
        name: under which the file is encrypted.

    Raises:
        FileNotFoundError: there is no such file.
        EncryptionError: it cannot be decrypted.
    """
    if not is_encrypted_file(path):
        return FileResponse(path, headers=headers, media_type=media)
    with Reader(path, name) as file:
        return _response(request, path, file, headers, media, name)


def _response(
    request: Request, path: Path, file: Reader, headers: Mapping[str, str], media: str, name: str
) -> Response:
    size = file.size
    state = path.stat()
    facts = {
        **headers,
        "Accept-Ranges": "bytes",
        "ETag": f'"{state.st_mtime_ns:x}-{size:x}"',
        "Last-Modified": formatdate(state.st_mtime, usegmt=True),
    }
    begin, end, status = 0, size, 200
    if request.headers.get("if-range", facts["ETag"]) in (facts["ETag"], facts["Last-Modified"]):
        asked = _range_of(request.headers.get("range", ""), size)
        if asked is not None:
            begin, end, status = *asked, 206
            if begin >= end:
                return Response(status_code=416, headers={**facts, "Content-Range": f"bytes */{size}"})
            facts["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    facts["Content-Length"] = str(end - begin)
    if request.method == "HEAD":
        return Response(status_code=status, headers=facts, media_type=media)
    if end - begin <= AT_ONCE_BYTES:
        return Response(file.read(begin, end - begin), status, facts, media)
    return StreamingResponse(_pieces(path, name, begin, end - begin), status, facts, media)


def _range_of(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None for a header that asks for no range, or not for one."""
    found = _RANGE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many bytes
        return max(size - int(found[2]), 0), size
    if found[2] and int(found[2]) < int(found[1]):
        return None
    return int(found[1]), min(int(found[2]) + 1, size) if found[2] else size


def _pieces(path: Path, name: str, offset: int, length: int) -> Iterator[bytes]:
    with Reader(path, name) as file:
        yield from file.pieces(offset, length)
