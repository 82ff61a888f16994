"""People who are logged in, as HTTP clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.serving.people import Person


@pytest.fixture
def anna(persons: list[Person], web: str) -> Iterator[httpx.Client]:
    with closing(persons[0].client(web)) as client:
        yield client


@pytest.fixture
def bert(persons: list[Person], web: str) -> Iterator[httpx.Client]:
    with closing(persons[1].client(web)) as client:
        yield client
