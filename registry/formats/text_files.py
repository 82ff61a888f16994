"""Text files of other people's programs: UTF-8, UTF-16, UTF-32, or what Windows wrote before them.

Without a byte order mark nothing in a file says that it is GBK rather than cp1252. The best witness is what it names:
the decoding in which its names are files that are there, or classes that the model has. Without such a witness, the
encoding in which most of its characters are usual ones (docs/decisions/0035-encodings-of-labels.md).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the first half of it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDER = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "hz": "hz", "shift_jis": "cp932", "big5": "cp950",
    "euc_kr": "cp949", "iso8859-1": "cp1252", "ascii": "cp1252",
}  # fmt: skip
"""Windows' programs name the standard and write their own code page, which has more characters."""

_WEST = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœšžÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝŒŠŽ’‘“”–—…€£§°²³µ«»©®·¿¡×"
_EAST = "áäąčćďéěęíĺľłńňóôöőŕřśšťúůüűýźžżßÁÄĄČĆĎÉĚĘÍĹĽŁŃŇÓÔÖŐŔŘŚŠŤÚŮÜŰÝŹŽŻ"
LIKELY = 0.6
"""Share of the characters beyond ASCII that must be usual ones in an encoding that nothing else speaks for."""


@dataclass(frozen=True)
class Text:
    """A text file's content without its byte order mark, and the encoding that it was read in; "" for UTF-8."""

    content: str
    encoding: str = ""


class Undecodable(ValueError):
    """Bytes that are no text in an encoding known here; the message says why."""


def decode(body: bytes, witness: Callable[[str], float] | None = None, declared: str = "") -> Text:
    """A file's bytes -> its text.

    Args:
        body: the whole file.
        witness: how much of what the decoded text names is really there; the decoding with most wins.
        declared: the encoding that the file itself names, as XML does.

    Raises:
        Undecodable: binary, cut off within a character, or in no encoding known here.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            try:
                content = body.decode(encoding)
            except UnicodeDecodeError as error:
                raise Undecodable(f"begins as {encoding.removesuffix('-sig').upper()}, but is damaged") from error
            return Text(content, "" if encoding == "utf-8-sig" else encoding)
    if b"\0" in body[:4096]:
        return _without_mark(body)
    said = _as_declared(body, declared) if declared else None
    try:
        plain = Text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        if said is None and _is_mostly_utf8(body):
            raise Undecodable(f"is UTF-8, but damaged at byte {error.start}: save it again") from error
        return said or _guessed(body, witness)
    if said is not None:
        return plain if _is_rather(plain.content, said.content, witness) else said
    return _by_chance(body, plain, witness) or plain


def _by_chance(body: bytes, plain: Text, witness: Callable[[str], float] | None) -> Text | None:
    """Another encoding's text whose bytes are UTF-8 by chance (GBK's for "picture" are), if it is one."""
    beyond = {char for char in plain.content if char > "\x7f"}
    if not beyond or (witness is not None and witness(plain.content)):
        return None
    alphabets = (range(0xA0, 0x180), range(0x370, 0x400), range(0x400, 0x500), range(0x590, 0x800))
    # Characters of three bytes, or of one alphabet, are no chance.
    likely = max(beyond) < "\u0800" and not any(all(ord(char) in one for char in beyond) for one in alphabets)
    try:
        other = _guessed(body, witness)
    except Undecodable:
        return None
    return other if likely or (witness is not None and witness(other.content)) else None


def _is_mostly_utf8(body: bytes) -> bool:
    whole = body.decode("utf-8", "replace")
    bad = whole.count("\ufffd")
    return sum(char > "\x7f" for char in whole) - bad >= 2 * bad


def _without_mark(body: bytes) -> Text:
    """UTF-16 whose mark is missing: every second byte of ASCII is 0."""
    head = body[:4096]
    odd, even = head[1::2].count(0), head[::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if max(odd, even) < 0.4 * len(head) / 2 or min(odd, even) > 0:
        raise Undecodable("is not text: it holds zero bytes")
    try:
        return Text(body.decode(encoding), encoding)
    except UnicodeDecodeError as error:
        raise Undecodable(f"looks like {encoding.upper()}, but is damaged") from error


def _as_declared(body: bytes, declared: str) -> Text | None:
    try:
        name = codecs.lookup(declared).name
        name = _WIDER.get(name, name)
        content = body.decode(name)
    except (LookupError, UnicodeError, ValueError):
        return None
    return Text(content, "" if name == "utf-8" or content.isascii() else name)


def _is_rather(plain: str, said: str, witness: Callable[[str], float] | None) -> bool:
    """Whether bytes that are UTF-8 are that, whatever the file itself says: two of its characters may be chance."""
    if witness is not None and witness(plain) != witness(said):
        return witness(plain) > witness(said)
    return sum(char > "\x7f" for char in plain) > 2


def _guessed(body: bytes, witness: Callable[[str], float] | None) -> Text:
    best: tuple[tuple[float, float], str, str] | None = None
    for encoding, usual in _ENCODINGS.items():
        try:
            content = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        rank = (witness(content) if witness else 0.0, usual(content))
        if best is None or rank > best[0]:  # of equal ones the first
            best = (rank, content, encoding)
    if best is None or (best[0][0] == 0 and best[0][1] < LIKELY):
        raise Undecodable("is neither UTF-8 nor in another encoding that can be told: save it as UTF-8")
    return Text(best[1], best[2])


def _share(pattern: str) -> Callable[[str], float]:
    """How much of the text beyond ASCII fits the pattern."""
    fitting = re.compile(pattern)

    def share(content: str) -> float:
        beyond = sum(char > "\x7f" for char in content)
        return sum(map(len, fitting.findall(content))) / beyond if beyond else 1.0

    return share


def _led(codec: str, leads: Collection[int], more: str = "") -> Callable[[str], float]:
    """How much of the text beyond ASCII is among the codec's usual characters, known by their first byte."""

    def share(content: str) -> float:
        beyond = [char for char in content if char > "\x7f"]
        return sum(_lead(char, codec) in leads or char in more for char in beyond) / len(beyond) if beyond else 1.0

    return share


def _lead(char: str, codec: str) -> int:
    """The first of a character's two bytes; 0 if it has another number of them."""
    try:
        raw = char.encode(codec)
    except UnicodeEncodeError:
        return 0
    return raw[0] if len(raw) == 2 else 0


def _japanese(content: str) -> float:
    """Kana count as Japanese, kanji a little less, as GBK's bytes give kanji, too; a half-width kana alone is none."""
    kana = re.findall(r"[\u3041-\u30ff\u3001\u3002]|[\uff61-\uff9f]{2,}", content)
    halves = "".join(run for run in kana if run[0] >= "\uff61")
    return (1.0 if kana else 0.9) * _led("cp932", (*range(0x81, 0x84), *range(0x88, 0x98)), halves)(content)


_ENCODINGS: dict[str, Callable[[str], float]] = {
    "gb18030": _led("gb2312", (*range(0xA1, 0xA4), *range(0xB0, 0xD8))),
    "cp932": _japanese,
    "cp950": _led("big5", range(0xA1, 0xC7)),
    "cp949": _led("euc_kr", (0xA1, *range(0xB0, 0xC9))),
    "cp1252": _share(rf"(?<![^\x00-\x7f])[{_WEST}]{{1,2}}(?![^\x00-\x7f])"),
    "cp1250": _share(rf"(?<![^\x00-\x7f])[{_EAST}]{{1,2}}(?![^\x00-\x7f])"),
    "cp1251": _share(r"[\u0410-\u044f\u0401\u0451\u0404\u0454\u0406\u0456\u0407\u0457№«»–—]+"),
}
"""Encodings of Windows by language, each with the share of the text that is usual in it; of equal ones the first."""
