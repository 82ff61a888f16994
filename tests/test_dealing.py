"""Files that share what takes seconds to start are there: a renamed one would silently be dealt apart."""

from __future__ import annotations

from tests.conftest import PROJECT
from tests.dealing import ORDER, TOGETHER


def test_what_is_dealt_together_is_there() -> None:
    for path in [*ORDER, *(file for files in TOGETHER.values() for file in files)]:
        assert (PROJECT / "tests" / path).exists(), path
