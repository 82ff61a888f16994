"""People with roles, logged in, and a real local stack of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.stack.control import Stack
from tests.browsers import Visitor
from tests.serving.accounts.conftest import account, log_in

__all__ = ["account"]


@pytest.fixture
def as_role(visitor: Visitor, account: Callable[..., Any]) -> Callable[[str], Visitor]:
    """Logs the visitor in as somebody with a role."""

    def enter(role: str) -> Visitor:
        user = account(role)
        log_in(visitor, user.email)
        visitor.page.get_by_role("button", name=user.email).wait_for()
        return visitor

    return enter


@pytest.fixture(scope="package")
def stack(project: Path) -> Iterator[Stack]:
    """A supervisor with the keeper."""
    running = Stack()
    running.up(only=["keeper"])
    running.wait()
    yield running
    running.down()
