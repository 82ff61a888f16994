"""`?version=3`: the version that a caller wants its answer from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from registry.core.errors import BadInput, Refused
from serving.query.paging import read_number

VERSION = "version"
_LARGEST = 2**31 - 1


def read_version(query: Mapping[str, str]) -> int | None:
    """The version that a query names; None where it names none. Raises BadInput."""
    return read_number(VERSION, query[VERSION], _LARGEST) if VERSION in query else None


def take_version(query: str) -> tuple[int | None, str]:
    """The version that a raw query names, and the query without it. Raises BadInput."""
    given, rest = take(query, VERSION)
    if len(given) > 1:
        raise BadInput("the query has 'version' more than once", expected="one", fix="leave the others out")
    return (read_number(VERSION, given[0], _LARGEST) if given else None), rest


def take(query: str, name: str) -> tuple[list[str], str]:
    """The values of a parameter in a raw query, and the rest of the query as it was written."""
    if not query:
        return [], query
    kept: list[str] = []
    given: list[str] = []
    for part in query.split("&"):
        pairs = parse_qsl(part, keep_blank_values=True)
        named = len(pairs) == 1 and pairs[0][0] == name
        (given if named else kept).append(pairs[0][1] if named else part)
    return given, "&".join(kept)


def check_available(model: str, version: int, available: Collection[int]) -> None:
    """Raises Refused for a version that does not run."""
    if version not in available:
        raise Refused(
            f"version {version} of {model} is not served",
            expected=f"one of {', '.join(map(str, sorted(available)))}" if available else "a version that is served",
            fix="leave ?version= out for the live version",
        )
