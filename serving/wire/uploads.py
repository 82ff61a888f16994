"""Reads the body of a request: raw, multipart or JSON. Never more than allowed, never onto the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from registry.core.errors import BadInput, TooSlow, UnsupportedMedia
from serving.wire.admission import MIB, Reservation, too_large
from serving.wire.json_inputs import Address, parse_inputs, too_many
from serving.wire.negotiation import JSON, ResponseFormat

MULTIPART, RAW = "multipart/form-data", "application/octet-stream"
FIELD = "file"
MAX_FILE_NAME = 255  # letters of a file's name that its answer repeats
MIN_PACE_BYTES, PACE_S = 4 * MIB, 60.0
"""A body must come in at least as fast: so many bytes in so many seconds, unless it ends before."""

_KINDS_OF_FILES = ("application/pdf", "application/dicom", "application/zip", "application/gzip", "application/x-nifti")


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        max_bytes: of the body, whatever form the files have in it; of a file that is fetched.
        max_inputs: how many files.
        allow_urls: whether an input may be an address to fetch it from.
    """

    max_bytes: int
    max_inputs: int
    allow_urls: bool = False


def content_type(request: Request) -> str:
    """The declared media type without parameters, lower case; empty if none was declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Upload:
    """The files of a request.

    Attributes:
        inputs: the bytes of each file, or why it cannot be used.
        several: whether the caller sent a list, and so gets one.
        names: of the files, as a form gives them; "" for a file without a name, () where there is no form.
    """

    inputs: tuple[bytes | BadInput, ...]
    several: bool = False
    names: tuple[str, ...] = ()

    def check_format(self, wants: ResponseFormat) -> None:
        """Raises BadInput where several files would be answered in a format that holds the answer to one."""
        if self.several and wants.media != JSON:
            raise BadInput(
                f"several files were sent, and {wants.media} holds the answer to one",
                expected=f"one file, or Accept: {JSON}",
                fix="send them one by one, or ask for JSON",
            )


async def read_upload(request: Request, media_in: Sequence[str], limits: Limits, reservation: Reservation) -> Upload:
    """The uploaded files: one as the body, or one or several as a form or in JSON.

    A body without a content type, or declared as mere bytes, is accepted: the decoder finds out what it is. In a list,
    the error of a file is its own entry; the error of a single file is raised.

    Args:
        media_in: the content types that the model takes.
        reservation: takes the bytes as they come in.

    Raises:
        UnsupportedMedia: a content type that is not in `media_in` (415).
        TooLarge: declared or actual size is over the limit, or more files than allowed; the rest is not read (413).
        Overloaded: there is no room for the declared or actual size; the rest is not read (429).
        TooSlow: the body came in more slowly than `MIN_PACE_BYTES` in `PACE_S` (408).
        BadInput: empty, a broken multipart or JSON body, or a form without the field `file` (422).
    """
    declared = content_type(request)
    if declared and declared not in (MULTIPART, RAW, JSON, *media_in):
        raise UnsupportedMedia(
            f"the content type is {declared}",
            expected=f"{', '.join(media_in)}, {MULTIPART} with the field {FIELD!r}, or {JSON} with base64",
            fix=_other_type(declared, media_in[0]),
        )
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) not in ("", "identity"):
        raise UnsupportedMedia(
            f"the body is encoded with {coding[:40]} (Content-Encoding)",
            expected="a body without a Content-Encoding; a file that is a .gz itself is one",
            fix="send the file as it is, without the header",
        )
    length = request.headers.get("content-length", "")
    check_declared_length(length, limits.max_bytes)
    if length.isdigit():
        reservation.check(int(length))
    try:
        chunks = read_chunks(request, limits.max_bytes, reservation.take)
        if declared == MULTIPART:
            bodies, names = await _from_multipart(request, chunks, limits)
            return replace(_upload(bodies, empty=_empty_file()), names=names)
        body = b"".join([chunk async for chunk in chunks])
    except ClientDisconnect as error:
        raise BadInput("the caller went away before the body was complete") from error
    if declared == JSON:
        # Decoding a large body would hold up every other request.
        inputs, several = await asyncio.to_thread(parse_inputs, body, limits.max_inputs)
        fetched = await _gather(_fetched(one, limits, len(inputs), reservation) for one in inputs)
        return _upload(fetched, several)
    return _upload([body])


def _upload(inputs: Sequence[bytes | BadInput], several: bool = False, empty: BadInput | None = None) -> Upload:
    checked = tuple(one or empty or _empty() for one in inputs)
    several = several or len(checked) > 1
    if not several and isinstance(checked[0], BadInput):
        raise checked[0]
    return Upload(checked, several)


def _other_type(declared: str, taken: str) -> str:
    """How to fix a body with the type `declared`. A type that names a kind of file is believed: the same file under
    another type would be refused as well."""
    names_a_kind = declared.startswith(("image/", "video/", "audio/", "text/")) or declared in _KINDS_OF_FILES
    if names_a_kind:
        return f"send another file, or convert it; if it is one that is taken, say so with `Content-Type: {taken}`"
    return f"send the file as it is with `Content-Type: {taken}`"


def _empty() -> BadInput:
    return BadInput("the body is empty", expected="the bytes of one file", fix="send the file's content as the body")


def _empty_file() -> BadInput:
    return BadInput("a file of the form is empty", expected="the bytes of a file", fix="check the file, send it again")


async def _gather(coroutines: Iterable[Coroutine[None, None, bytes | BadInput]]) -> list[bytes | BadInput]:
    """As `asyncio.gather`, but an error cancels the others."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _fetched(
    one: bytes | Address | BadInput, limits: Limits, count: int, reservation: Reservation
) -> bytes | BadInput:
    if not isinstance(one, Address):
        return one
    if not limits.allow_urls:
        return BadInput(
            "the input is an address, and this service does not fetch from addresses",
            expected="the file itself",
            fix="send the file as the body",
        )
    from serving.wire.fetching import fetch

    try:
        return await fetch(one.url, limits.max_bytes // count, on_bytes=reservation.take)
    except BadInput as error:
        return error


def check_declared_length(declared: str | None, max_bytes: int) -> None:
    """Refuses by the Content-Length header, before a byte of the body is read. Raises TooLarge."""
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise too_large(f"the request body has {int(declared):,} bytes", max_bytes)


async def read_chunks(
    request: Request, most: int, on_bytes: Callable[[int], None] = lambda size: None
) -> AsyncGenerator[bytes, None]:
    """The chunks of a body as they come in, at a pace of `MIN_PACE_BYTES` bytes in `PACE_S` from the start.

    Args:
        most: bytes that the body may have.
        on_bytes: called with the size of every chunk; what it raises ends the reading.

    Raises:
        TooLarge: the body has more than `most` bytes.
        TooSlow: a chunk, also the first, takes longer than allowed.
        ClientDisconnect: the connection was closed.
    """
    now = asyncio.get_running_loop().time
    size, mark, end = 0, MIN_PACE_BYTES, now() + PACE_S
    while (message := await _receive(request, end))["type"] != "http.disconnect":
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise too_large(f"the request body has more than {most:,} bytes", most)
        on_bytes(len(chunk))
        yield chunk
        if not message.get("more_body", False):
            return
        if size >= mark:
            mark, end = size + MIN_PACE_BYTES, now() + PACE_S
    raise ClientDisconnect


async def _receive(request: Request, end: float) -> Message:
    try:
        async with asyncio.timeout_at(end):
            return await request.receive()
    except TimeoutError as error:
        raise TooSlow(
            f"less than {MIN_PACE_BYTES / MIB:g} MiB of the body came in within {PACE_S:g} s",
            expected="a body that comes in at that pace, or ends",
            fix="send a smaller file, or over a faster line",
        ) from error


class _Parser(MultiPartParser):
    """Accepts a part with only `filename*` as a file. RFC 7578, 4.2, forbids it, and some libraries send it."""

    def on_headers_finished(self) -> None:
        part = self._current_part
        given = part.content_disposition or b""
        if b"filename*=" in given.lower() and b"filename=" not in given.lower():
            part.content_disposition = given + b'; filename="file"'
        super().on_headers_finished()


async def _from_multipart(
    request: Request, chunks: AsyncGenerator[bytes, None], limits: Limits
) -> tuple[list[bytes], tuple[str, ...]]:
    """The files of a form, and their names."""
    parser = _Parser(
        request.headers,
        chunks,
        max_files=limits.max_inputs,
        max_fields=16,
        max_part_size=64 * 1024,
    )
    # Starlette spools parts over 1 MB to the system's temporary folder; the body is bounded, so keep it in memory.
    parser.spool_max_size = limits.max_bytes + MIB
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary in the content type
        message = getattr(error, "message", "it names no boundary")
        if message.startswith("Too many files"):
            raise too_many(limits.max_inputs) from error
        if message.startswith("Part exceeded"):
            raise BadInput(
                "a part of the form has no file name, so it is a text, and has more than 64 KiB",
                expected=f"files in the field {FIELD!r}, with a filename in the part's Content-Disposition",
                fix=f"e.g. `curl -F {FIELD}=@FILE`",
            ) from error
        raise BadInput(
            f"the multipart body is malformed: {message}",
            expected=f"files in the field {FIELD!r}",
            fix="let the HTTP library build the form, or send the file's bytes as the body",
        ) from error
    parts = [part for part in form.getlist(FIELD) if isinstance(part, UploadFile)]
    if not parts and FIELD in form:
        raise BadInput(
            f"the form's field {FIELD!r} is a text, not a file",
            expected=f"one file in the field {FIELD!r}, or several in fields of that name",
            fix=f"e.g. `curl -F {FIELD}=@FILE`: the @ makes it a file",
        )
    if not parts:
        names = ", ".join(repr(name) for name in form) or "no field"
        raise BadInput(
            f"the form holds {names}",
            expected=f"one file in the field {FIELD!r}, or several in fields of that name",
            fix=f"e.g. `curl -F {FIELD}=@FILE`",
        )
    return [await part.read() for part in parts], tuple((part.filename or "")[:MAX_FILE_NAME] for part in parts)
