"""Pages of a list: how many entries, and the cursor behind the last one.

A cursor is the time and id of an entry. The next page begins behind it, so that new entries move nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from registry.core.errors import BadInput

if TYPE_CHECKING:
    from django.db.models import QuerySet

MAX_LIMIT, DEFAULT_LIMIT = 100, 50
Position = tuple[datetime, str]
"""Time and id of an entry."""


def cut(rows: QuerySet[Any], field: str, after: Position | None, limit: int) -> tuple[list[Any], str | None]:
    """The newest rows, or those behind `after`, and the cursor of the next page; None for the last page.

    Args:
        field: the name of the rows' time. `id` decides between equal times.
    """
    from django.db.models import Q

    if after is not None:
        when, number = after
        rows = rows.filter(**{f"{field}__lte": when}).filter(Q(**{f"{field}__lt": when}) | Q(id__lt=number))
    found = list(rows.order_by(f"-{field}", "-id")[: limit + 1])
    shown = found[:limit]
    return shown, _cursor((getattr(shown[-1], field), shown[-1].id)) if len(found) > limit else None


def read_limit(text: str) -> int:
    """A limit as a query has it; the default for "". Raises BadInput."""
    return read_number("limit", text, MAX_LIMIT) if text else DEFAULT_LIMIT


def read_cursor(text: str) -> Position | None:
    """The position that a cursor names; None for "". Raises BadInput."""
    if not text:
        return None
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        when, number = plain.split(" ")
        moment = datetime.fromisoformat(when)
        if moment.tzinfo is None or not re.fullmatch(r"[0-9a-f]{32}", number):
            raise ValueError(plain)
    except (binascii.Error, ValueError) as error:
        raise bad_value("cursor", text, "the `next_cursor` of an answer", "begin without ?cursor=") from error
    return moment, number


def read_number(name: str, text: str, most: int) -> int:
    """A whole number from 1 to `most`. Raises BadInput."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
        raise bad_value(name, text, f"a number from 1 to {most:,}", f"correct ?{name}=")
    return int(text)


def bad_value(name: str, value: str, expected: str, fix: str) -> BadInput:
    """The error of a query parameter's value."""
    return BadInput(f"{name} is {value[:80]!r}", expected=expected, fix=fix)


def _cursor(position: Position) -> str:
    when, number = position
    return base64.urlsafe_b64encode(f"{when.isoformat()} {number}".encode()).decode().rstrip("=")
