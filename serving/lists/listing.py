"""What a list is: its rows, columns, filters and bulk actions. `serving.lists.every` has the lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.utils.dateparse import parse_date

from registry.core import database
from serving.accounts.models import Role, User
from serving.translation import states

if TYPE_CHECKING:
    from django.db.models import QuerySet

PAGE = 50
Rows = Any
"""A QuerySet, or `Made`. Django's types are not known to the checker."""
T = TypeVar("T")


class Made(list[T]):
    """Rows that are no table's, for lists without actions."""

    def iterator(self, chunk_size: int) -> Iterator[T]:
        return iter(self)


@dataclass(frozen=True)
class Column:
    """`value`: of a row, as text, number or time. `kind`: text, words (somebody's own, in whatever
    language), number, time, state, badge, code or picture."""

    name: str
    title: Any
    value: Callable[[Any], Any]
    kind: str = "text"
    link: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Filter:
    """A choice above the list. `choices`: value and text of each; `apply`: narrows the rows to a value."""

    name: str
    title: Any
    choices: Callable[[], Iterable[tuple[str, Any]]]
    apply: Callable[[Rows, str], Rows]


@dataclass(frozen=True)
class Action:
    """Something to do with chosen rows.

    Attributes:
        will: what will happen, in a sentence.
        do: does it with one row, for a person, for a reason, with what the form has. Raises VisionloopError.
        fields: more fields of the form.
    """

    name: str
    title: Any
    will: Any
    do: Callable[[Any, User, str, Mapping[str, Any]], object]
    least: Role = Role.ADMINISTRATOR
    fields: Mapping[str, Callable[[], forms.Field]] | None = None


@dataclass(frozen=True)
class Listing:
    """A list.

    Attributes:
        rows: all of them, in order.
        search: narrows the rows to a text; None: there is nothing to search.
        time: the field to filter by day; "": none.
        prepare: called with the rows of a page, to look up what their columns need, all at once.
        day: whether `time` is a date.
    """

    name: str
    title: Any
    least: Role
    rows: Callable[[], Rows]
    columns: Sequence[Column]
    search: Callable[[Rows, str], Rows] | None = None
    search_hint: Any = ""
    filters: Sequence[Filter] = ()
    actions: Sequence[Action] = ()
    time: str = ""
    day: bool = False
    prepare: Callable[[Sequence[Any]], None] | None = None
    label: Callable[[Any], str] = str

    @property
    def has_search(self) -> bool:
        """For templates, which would call `search`."""
        return self.search is not None

    def chosen(self, asked: Mapping[str, str]) -> Rows:
        """The rows that a query asks for. Wrong values are ignored."""
        rows = self.rows()
        if self.search is not None and (text := asked.get("q", "").strip()):
            rows = self.search(rows, text)
        for one in self.filters:
            if (value := asked.get(one.name, "")) in {known for known, _ in one.choices()} - {""}:
                rows = one.apply(rows, value)
        for name, later in (("from", False), ("to", True)):
            day = _day(asked.get(name, ""))
            if self.time and day is not None:
                end = day + timedelta(days=1) if later else day
                rows = rows.filter(**{f"{self.time}__{'lt' if later else 'gte'}": end if self.day else _midnight(end)})
        return rows

    def page(self, asked: Mapping[str, str]) -> tuple[list[Any], int, bool]:
        """The rows of a page, its number, and whether there is another. A million rows are not counted."""
        number = max(1, int(asked["page"])) if asked.get("page", "").isdecimal() and len(asked["page"]) < 8 else 1
        first = (number - 1) * PAGE
        found = list(self.chosen(asked)[first : first + PAGE + 1])
        self._prepare(found[:PAGE])
        return found[:PAGE], number, len(found) > PAGE

    def lines(self, asked: Mapping[str, str]) -> Iterator[list[Any]]:
        """All rows for a CSV file, the names of the columns first."""
        shown = [one for one in self.columns if one.kind != "picture"]
        yield [one.name for one in shown]
        rows: QuerySet[Any] = self.chosen(asked)
        some: list[Any] = []
        for row in database.stream(rows, 500):
            some.append(row)
            if len(some) == 500:
                yield from self._values(some, shown)
                some = []
        yield from self._values(some, shown)

    def _values(self, rows: Sequence[Any], shown: Sequence[Column]) -> Iterator[list[Any]]:
        self._prepare(rows)
        for row in rows:
            yield [_plain(one.value(row)) for one in shown]

    def _prepare(self, rows: Sequence[Any]) -> None:
        if self.prepare is not None and rows:
            self.prepare(rows)

    def actions_for(self, user: User) -> list[Action]:
        return [one for one in self.actions if user.has_role(one.least)]


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _plain(value: Any) -> Any:
    """For a spreadsheet. A text that it would run as a formula gets an apostrophe before it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    text = value if isinstance(value, str) else str(value) if value is not None else ""
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t") else text


def of_states(*values: str) -> Callable[[], list[tuple[str, str]]]:
    """The choices of a filter: states, in the reader's language."""
    return lambda: [(one, states.translated(one)) for one in values]
