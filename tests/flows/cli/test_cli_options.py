"""How a version is named on the command line."""

from __future__ import annotations

import pytest

from flows.options import which
from registry.core.errors import UsageError
from tests.bundles import MODEL


@pytest.mark.parametrize(
    ("model", "version", "found"),
    [
        (MODEL, None, (MODEL, "champion")),
        (MODEL, "3", (MODEL, "3")),
        (f"{MODEL}@3", None, (MODEL, "3")),
        (f"{MODEL}@previous", None, (MODEL, "previous")),
    ],
)
def test_a_version_stands_behind_an_at_or_by_itself(model: str, version: str | None, found: tuple[str, str]) -> None:
    assert which(model, version, "champion") == found


@pytest.mark.parametrize(("model", "version"), [(f"{MODEL}@3", "2"), (f"{MODEL}@", None), (f"{MODEL}@", "2")])
def test_it_is_named_once(model: str, version: str | None) -> None:
    with pytest.raises(UsageError, match=r"names no version|another version"):
        which(model, version, "champion")
