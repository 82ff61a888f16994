"""What an error says in one line, also where it says nothing."""

from __future__ import annotations

import re

import pytest

from registry.core import errors
from registry.core.errors import BadInput, Overloaded, VisionloopError, error_from_json, first_line
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "MemoryError"),
        (ValueError(""), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        (ValueError("\n  the second line\nthe third"), "the second line"),
        (BadInput("found this", expected="that"), "found this"),
    ],
)
def test_the_first_line_of_an_error_is_never_missing(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_no_code_takes_the_first_line_of_an_error_in_another_way() -> None:
    """`str(MemoryError()).splitlines()[0]` is an IndexError, in place of the message."""
    wrong = re.compile(r"str\((error|caught|e|exc)\).*splitlines\(\).*\[0\]")
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for folder in ("registry", "training", "serving", "monitoring", "flows")
        for path in (PROJECT / folder).rglob("*.py")
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if wrong.search(text)
        and not text.startswith("    first = (str(error)")  # the front door names the class beside it
    ]
    assert found == []


KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, VisionloopError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_comes_back_from_its_json(kind: type[VisionloopError]) -> None:
    more = {"retry_after_s": 7} if issubclass(kind, Overloaded) else {}
    error = kind("found", expected="that", fix="do this", **more)
    back = error_from_json(error.to_json(), retry_after_s=7)
    assert type(back) is kind
    assert (back.found, back.expected, back.fix, back.retry_after_s) == ("found", "that", "do this", 7)


def test_what_is_no_error_of_ours_is_one_all_the_same() -> None:
    assert type(error_from_json({"error": "Path", "found": "x"})) is VisionloopError
    assert error_from_json({}, status=502).found == "the API answered 502"
