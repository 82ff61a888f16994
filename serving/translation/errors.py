"""Errors in the reader's language. Those that are not in `error_sentences` stay in English."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.utils.formats import get_format
from django.utils.translation import get_language, gettext

from registry.core.errors import VisionloopError
from serving.translation.error_sentences import SENTENCES

PARTS = ("found", "expected", "fix")
_NUMBER = re.compile(r"\d{1,3}(,\d{3})*(\.\d+)?|\d+(\.\d+)?")


def translated(text: str) -> str:
    """A part of an error; itself where it is not known."""
    return _translated(text) or text


def is_known(text: str) -> bool:
    """Whether the text is English for nobody: there is none, the reader reads English, or it is translated."""
    return not text or (get_language() or "en").startswith("en") or _translated(text) is not None


def to_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """What `VisionloopError.to_json` gave, with its parts translated."""
    return {**content, **{part: translated(str(content.get(part) or "")) for part in PARTS}}


def in_words(error: VisionloopError) -> str:
    """An error for a message of one line: what is wrong, and what to do."""
    return " ".join(sentence(translated(part)) for part in (error.found, error.fix) if part)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}" if text else ""


def _translated(text: str) -> str | None:
    for known, pattern in _patterns():
        if (found := pattern.fullmatch(text)) is not None:
            values = {name: _value(value) for name, value in found.groupdict().items()}
            return gettext(known) % values
    for between in re.finditer(" or ", text):
        first, second = _translated(text[: between.start()]), _translated(text[between.end() :])
        if first is not None and second is not None:
            return first + gettext(" or ") + second
    return None


def _value(text: str) -> str:
    if _NUMBER.fullmatch(text):
        signs = {",": str(get_format("THOUSAND_SEPARATOR")), ".": str(get_format("DECIMAL_SEPARATOR"))}
        return "".join(signs.get(one, one) for one in text)
    return _translated(text) or text


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Each sentence with what fits it, those that say most first."""
    found = []
    for known in sorted(SENTENCES, key=lambda one: -len(re.sub(r"%\(\w+\)s", "", one))):
        pieces = re.split(r"%\((\w+)\)s", known)
        parts = [f"(?P<{piece}>.+?)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)]
        found.append((known, re.compile("".join(parts), re.DOTALL)))
    return found
