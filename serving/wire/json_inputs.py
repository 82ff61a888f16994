"""Inputs in a JSON body: base64, for callers that can send nothing else, or addresses to fetch them from."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from registry.core.errors import BadInput, TooLarge
from serving.wire.admission import MIB

INPUT, INPUTS, URL, URLS = "input", "inputs", "url", "urls"
MAX_PUNCTUATION = 1000
"""Commas, brackets and braces per input, of which an address may have some. Parsed, each takes some sixty bytes."""
_EXPECTED = (
    f'{{"{INPUT}": "<base64>"}}, {{"{INPUTS}": ["<base64>", ...]}}, {{"{URL}": "https://..."}} or {{"{URLS}": [...]}}'
)


@dataclass(frozen=True)
class Address:
    """Where to fetch an input from, as the caller wrote it."""

    url: str


def parse_inputs(body: bytes, max_inputs: int) -> tuple[list[bytes | Address | BadInput], bool]:
    """The inputs of a JSON body, and whether they are a list. In a list, the error of an input is its own entry.

    Raises:
        BadInput: not JSON, or not of the expected form; a single input that is not base64.
        TooLarge: there are more than `max_inputs`.
    """
    _check_form(body, max_inputs)
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed("the body is not JSON") from error
    if not isinstance(content, dict):
        raise _malformed(f"the JSON body is {kind_of(content)}")
    if len(content) != 1:
        names = ", ".join(map(repr, content))[:200]
        raise _malformed(f"the JSON body holds the keys {names}" if content else "the JSON body is an empty object")
    ((key, value),) = content.items()
    if key in (INPUT, URL) and isinstance(value, str):
        return [_decoded(value) if key == INPUT else Address(value)], False
    if key in (INPUTS, URLS) and isinstance(value, list) and value:
        if len(value) > max_inputs:
            raise too_many(max_inputs)
        return [_entry(key, one) for one in value], True
    if key not in (INPUT, INPUTS, URL, URLS):
        raise _malformed(f"the JSON body has the key {str(key)[:40]!r}")
    raise _malformed(f"the JSON body's {key!r} is {kind_of(value)}")


def too_many(max_inputs: int) -> TooLarge:
    return TooLarge(
        f"the request holds more than {max_inputs} files",
        expected=f"at most {max_inputs}",
        fix="send them in several requests",
    )


def _check_form(body: bytes, max_inputs: int) -> None:
    """Refuses what would take many times its size in memory once it is parsed: many small values, and a long text with
    one wide letter, for which Python keeps every letter in four bytes. Raises BadInput."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PUNCTUATION * (max_inputs + 1):
        raise _malformed("the JSON body holds more than a list of texts")
    wide = not body.isascii() or body.count(b"\\u") > body.count(b"\\u00")  # some encoders write + as \\u002B
    if wide and len(body) > MIB:
        raise _malformed("the JSON body holds letters that are not base64's")


def _entry(key: str, value: Any) -> bytes | Address | BadInput:
    if not isinstance(value, str):
        return _malformed(f"one of {key!r} is {kind_of(value)}")
    if key == URLS:
        return Address(value)
    try:
        return _decoded(value)
    except BadInput as error:
        return error


def _decoded(text: str) -> bytes:
    """The bytes of base64, with or without the head of a data URL (RFC 2397)."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        if "\n" in text or "\r" in text:
            raise BadInput(
                "the base64 has line ends in it",
                expected="the file's bytes in base64 (RFC 4648, section 4) in one line",
                fix="encode it without them, e.g. with `base64 -w0 FILE`",
            ) from error
        raise BadInput(
            f"the input is not base64: {error}",
            expected="the file's bytes in base64 (RFC 4648, section 4)",
            fix="encode them with the standard alphabet and padding, or send the file itself as the body",
        ) from error


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    names = {dict: "an object", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _malformed(found: str) -> BadInput:
    return BadInput(found, expected=_EXPECTED, fix="correct the body, or send the file itself as the body")
