"""Decodes text files in UTF-8, UTF-16, UTF-32, or a Windows code page.

Without a byte order mark, nothing in a file tells GBK from cp1252. The best evidence is what the text names: in the
right encoding, its names are files of the source or classes of the model. Otherwise the encoding wins in which most
characters are common ones (docs/decisions/0035-encodings-of-labels.md).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

Score = Callable[[str], float]
"""How much of what a decoded text names exists."""

_WINDOWS_NAMES = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "hz": "hz", "shift_jis": "cp932", "big5": "cp950",
    "euc_kr": "cp949", "iso8859-1": "cp1252", "ascii": "cp1252",
}  # fmt: skip
"""Programs on Windows declare the standard and write their own code page, which has more characters."""

_WEST = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœšžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒŠŽ’‘“”–—…€£§°²³µ«»©®·¿¡×"
_EAST = "áäąčćďéěęíĺľłńňóôöőŕřśšťúůüűýźžżßÁÄĄČĆĎÉĚĘÍĹĽŁŃŇÓÔÖŐŔŘŚŠŤÚŮÜŰÝŹŽŻ"
MIN_COMMON = 0.6
"""Least fraction of the non-ASCII characters that must be common ones in an encoding without other evidence."""

_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")


@dataclass(frozen=True)
class Text:
    """A text file's content without its byte order mark, and the encoding it was read as; "" for UTF-8."""

    content: str
    encoding: str = ""


class Undecodable(ValueError):
    """Bytes that are not text in a supported encoding; the message says why."""


def no_score(content: str) -> float:
    return 0.0


def xml_encoding(body: bytes) -> str:
    """The encoding that an XML declaration names; "" if there is none."""
    return found[1].decode() if (found := _XML_ENCODING.match(body)) else ""


def decode(body: bytes, score: Score = no_score, declared: str = "") -> Text:
    """A file's bytes -> its text.

    Args:
        body: the whole file.
        score: the decoding with the highest score wins.
        declared: the encoding that the file itself names, as XML does.

    Raises:
        Undecodable: binary, cut off within a character, or in an unsupported encoding.
    """
    encoding = json.detect_encoding(body)  # by the byte order mark, or by zero bytes at the beginning
    if encoding == "utf-8" and b"\0" in (head := body[:4096]):
        odd, even = head[1::2].count(0), head[::2].count(0)
        if min(odd, even) or max(odd, even) < 0.2 * len(head):
            raise Undecodable("is not text: it holds zero bytes")
        encoding = "utf-16-le" if odd else "utf-16-be"
    if encoding != "utf-8":
        try:
            content = body.decode(encoding)
        except UnicodeDecodeError as error:
            raise Undecodable(f"begins as {encoding.removesuffix('-sig').upper()}, but is damaged") from error
        return Text(content, "" if encoding == "utf-8-sig" else encoding)
    as_declared = _decode_declared(body, declared) if declared else None
    try:
        utf8 = Text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        if as_declared is None and _is_mostly_utf8(body):
            raise Undecodable(f"is UTF-8, but damaged at byte {error.start}: save it again") from error
        return as_declared or _guess(body, score)
    if as_declared is not None:
        return utf8 if _is_rather_utf8(utf8.content, as_declared.content, score) else as_declared
    return _decode_accidental_utf8(body, utf8, score) or utf8


def _decode_accidental_utf8(body: bytes, utf8: Text, score: Score) -> Text | None:
    """The text in another encoding, if the bytes are UTF-8 by accident only, as those of "picture" in GBK are."""
    beyond = {char for char in utf8.content if char > "\x7f"}
    if not beyond or score(utf8.content):
        return None
    alphabets = (range(0xA0, 0x180), range(0x370, 0x400), range(0x400, 0x500), range(0x590, 0x800))
    # Characters of three bytes, or all of one alphabet, are no accident.
    likely = max(beyond) < "\u0800" and not any(all(ord(char) in one for char in beyond) for one in alphabets)
    try:
        other = _guess(body, score)
    except Undecodable:
        return None
    return other if likely or score(other.content) else None


def _is_mostly_utf8(body: bytes) -> bool:
    text = body.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) - bad >= 2 * bad


def _decode_declared(body: bytes, declared: str) -> Text | None:
    try:
        name = codecs.lookup(declared).name
        name = _WINDOWS_NAMES.get(name, name)
        content = body.decode(name)
    except (LookupError, ValueError):
        return None
    return Text(content, "" if name == "utf-8" or content.isascii() else name)


def _is_rather_utf8(utf8: str, declared: str, score: Score) -> bool:
    """Whether to read valid UTF-8 as that, against the file's own declaration. Two characters may be an accident."""
    if score(utf8) != score(declared):
        return score(utf8) > score(declared)
    return sum(char > "\x7f" for char in utf8) > 2


def _guess(body: bytes, score: Score) -> Text:
    ranked = []
    for encoding, common in _ENCODINGS.items():
        try:
            content = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        ranked.append((score(content), common(content), Text(content, encoding)))
    best = max(ranked, key=lambda one: one[:2], default=(0.0, 0.0, None))  # of equal ones the first
    if best[2] is None or (best[0] == 0 and best[1] < MIN_COMMON):
        raise Undecodable("is neither UTF-8 nor in another encoding that can be recognised: save it as UTF-8")
    return best[2]


def _fraction(count: Callable[[str], int]) -> Score:
    """How much of the non-ASCII text is common, by a function that counts the common characters."""

    def fraction(content: str) -> float:
        beyond = sum(char > "\x7f" for char in content)
        return count(content) / beyond if beyond else 1.0

    return fraction


def _by_pattern(pattern: str) -> Score:
    return _fraction(lambda content: sum(map(len, re.findall(pattern, content))))


def _by_lead(codec: str, leads: Collection[int], more: str = "") -> Score:
    """Common are the characters in `more`, and those of the codec with one of these first bytes."""
    return _fraction(
        lambda content: sum(_lead(char, codec) in leads or char in more for char in content if char > "\x7f")
    )


def _lead(char: str, codec: str) -> int:
    """The first of a character's two bytes; 0 if it has another number of them."""
    raw = char.encode(codec, "ignore")
    return raw[0] if len(raw) == 2 else 0


def _japanese(content: str) -> float:
    """Text with kana is Japanese. Kanji alone count less, since GBK's bytes give kanji too; a lone half-width kana
    does not count."""
    kana = re.findall(r"[\u3041-\u30ff\u3001\u3002]|[\uff61-\uff9f]{2,}", content)
    halves = "".join(run for run in kana if run[0] >= "\uff61")
    leads = (*range(0x81, 0x84), *range(0x88, 0x98))
    return (1.0 if kana else 0.9) * _by_lead("cp932", leads, halves)(content)


_ENCODINGS: dict[str, Score] = {
    "gb18030": _by_lead("gb2312", (*range(0xA1, 0xA4), *range(0xB0, 0xD8))),
    "cp932": _japanese,
    "cp950": _by_lead("big5", range(0xA1, 0xC7)),
    "cp949": _by_lead("euc_kr", (0xA1, *range(0xB0, 0xC9))),
    "cp1252": _by_pattern(rf"(?<![^\x00-\x7f])[{_WEST}]{{1,2}}(?![^\x00-\x7f])"),
    "cp1250": _by_pattern(rf"(?<![^\x00-\x7f])[{_EAST}]{{1,2}}(?![^\x00-\x7f])"),
    "cp1251": _by_pattern(r"[\u0410-\u044f\u0401\u0451\u0404\u0454\u0406\u0456\u0407\u0457№«»–—]+"),
}
"""Code pages, each with the fraction of a text that is common in its language; of equal ones the first wins."""
