"""Reads a request's body: raw or multipart, never more of it than allowed, never onto the disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from registry.errors import BadInput, TooLarge, UnsupportedMedia

MULTIPART, RAW = "multipart/form-data", "application/octet-stream"
FIELD = "file"
MIB = 1 << 20


def content_type(request: Request) -> str:
    """The declared media type without parameters, lower case; empty if none was declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, takes: Sequence[str], max_bytes: int) -> bytes:
    """The uploaded file's bytes.

    A body without a content type, or declared as mere bytes, is taken: the decoder finds out what it is.

    Raises:
        UnsupportedMedia: a content type that is not in `takes` (415).
        TooLarge: declared or actual size is over `max_bytes`; the rest is not read (413).
        BadInput: empty, a broken multipart body, or one without the field `file` (422).
    """
    declared = content_type(request)
    if declared and declared not in (MULTIPART, RAW, *takes):
        raise UnsupportedMedia(
            f"the content type is {declared}",
            expected=f"{', '.join(takes)}, or {MULTIPART} with the field {FIELD!r}",
            mend=f"send the file as it is with `Content-Type: {takes[0]}`",
        )
    check_declared_length(request.headers.get("content-length"), max_bytes)
    try:
        if declared == MULTIPART:
            body = await _from_multipart(request, max_bytes)
        else:
            body = b"".join([chunk async for chunk in limited(request.stream(), max_bytes)])
    except ClientDisconnect as error:
        raise BadInput("the caller went away before the body was complete") from error
    if not body:
        raise BadInput(
            "the body is empty", expected="the bytes of one file", mend="send the file's content as the body"
        )
    return body


def check_declared_length(declared: str | None, max_bytes: int) -> None:
    """Refuses by the Content-Length header, before a byte of the body is read. Raises TooLarge."""
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(f"the request body is {int(declared) / MIB:,.0f} MiB", max_bytes)


async def limited(stream: AsyncIterator[bytes], max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Passes the chunks on until they are more than allowed. Raises TooLarge."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(f"the request body is more than {max_bytes / MIB:,.0f} MiB", max_bytes)
        yield chunk


def _too_large(found: str, max_bytes: int) -> TooLarge:
    return TooLarge(
        found,
        expected=f"at most {max_bytes / MIB:,.0f} MiB",
        mend="compress or crop the file, or raise max_upload_mb",
    )


async def _from_multipart(request: Request, max_bytes: int) -> bytes:
    parser = MultiPartParser(
        request.headers, limited(request.stream(), max_bytes), max_files=1, max_fields=16, max_part_size=64 * 1024
    )
    # Starlette spools parts over 1 MB to the system's temporary folder; the body is bounded, so keep it in memory.
    parser.spool_max_size = max_bytes + MIB
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary in the content type
        raise BadInput(
            f"the multipart body is malformed: {getattr(error, 'message', 'it names no boundary')}",
            expected=f"one file in the field {FIELD!r}",
            mend="let the HTTP library build the form, or send the file's bytes as the body",
        ) from error
    part = form.get(FIELD)
    if not isinstance(part, UploadFile):
        names = ", ".join(repr(name) for name in form) or "no field"
        raise BadInput(
            f"the form holds {names}",
            expected=f"one file in the field {FIELD!r}",
            mend=f"e.g. `curl -F {FIELD}=@FILE`",
        )
    return await part.read()
