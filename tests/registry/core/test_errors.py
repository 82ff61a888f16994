"""What an error says in one line, also where it says nothing."""

from __future__ import annotations

import re

import pytest

from registry.core.errors import BadInput, first_line
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
    wrong = re.compile(r"str\((error|caught|e|exc)\)(\.strip\(\))?\.splitlines\(\)\[")
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for folder in ("registry", "training", "serving", "monitoring", "flows")
        for path in (PROJECT / folder).rglob("*.py")
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if wrong.search(text)
    ]
    assert found == []
