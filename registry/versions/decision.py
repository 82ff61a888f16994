"""A decision: a page for every promotion, granted or refused. Without a page there is no promotion."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions.bundle import Score, Variant


@dataclass(frozen=True)
class Reason:
    """One rule of the gate, with what it found and what it expects."""

    rule: str
    passed: bool
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.found}; expected {self.expected}"


@dataclass(frozen=True)
class SliceRow:
    """The metric of both versions on one slice of the same held-out cases.

    `difference` is challenger minus champion, [low, high] its paired 95 % bootstrap interval.
    """

    name: str
    challenger: Score
    champion: Score | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


ENOUGH = 6
"""Cases, or groups of cases, from which on a slice is judged. Of five even the clearest difference is chance once in
2^5 = 32 times."""

SMALL_GROUP = 30
"""Cases, or groups of cases; the accuracy of a smaller group of people says little."""

LARGE_GAP = 0.05
"""Of the metric between two groups; people should look at more."""


@dataclass(frozen=True)
class Grouped:
    """The challenger on the values of one attribute that tells people apart, e.g. `skin_tone`."""

    attribute: str
    rows: tuple[SliceRow, ...]

    @property
    def ends(self) -> tuple[SliceRow, SliceRow]:
        """The rows of the lowest and the highest value."""
        rows = sorted(self.rows, key=lambda row: row.challenger.value)
        return rows[0], rows[-1]

    @property
    def gap(self) -> float:
        """The highest value less the lowest."""
        low, high = self.ends
        return high.challenger.value - low.challenger.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of these rows must keep in mind."""
        low, high = self.ends
        scores = [(_value(row), row.challenger) for row in self.rows]
        small = [f"{name} ({score.witnesses})" for name, score in scores if score.witnesses < SMALL_GROUP]
        unit = "groups of cases" if any(score.groups for _, score in scores) else "cases"
        said = [f"Fewer than {SMALL_GROUP} {unit}: {', '.join(small)}. Their figures say little."] if small else []
        if self.gap > LARGE_GAP:
            # That two intervals do not meet asks for more than that their difference be significant.
            apart = low.challenger.high < high.challenger.low
            doubt = "beyond chance" if apart else "which may be chance: the intervals overlap"
            said.append(f"{_value(low)} lies {self.gap:.3f} below {_value(high)}, {doubt}.")
        return tuple(said)

    def to_json(self) -> dict[str, Any]:
        low, high = self.ends
        return {
            "attribute": self.attribute,
            "gap": self.gap,
            "lowest": low.name,
            "highest": high.name,
            "warnings": list(self.warnings),
        }


def _value(row: SliceRow) -> str:
    return row.name.partition("=")[2]


@dataclass(frozen=True)
class Decision:
    """What the gate found and decided.

    Attributes:
        pictures: caption -> JPEG or PNG.
        classes: rows of single classes.
        group_by: the attributes that tell people apart, for a model that deals with people.
        digest, champion_digest: of the two bundles. A version's number means another version in another registry.
        same_network: the network is the champion's, and only what is beside it changed.
        best: slice -> the number of the best champion so far, which may be this version.
        links: link text -> address of the version and of its run.
    """

    model: str
    challenger: int
    champion: int | None
    granted: bool
    asked_by: str
    why: str
    metric: str
    data_hash: str
    reasons: tuple[Reason, ...]
    slices: tuple[SliceRow, ...] = ()
    variants: tuple[Variant, ...] = ()
    pictures: dict[str, bytes] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    classes: tuple[SliceRow, ...] = ()
    group_by: tuple[str, ...] = ()
    digest: str = ""
    champion_digest: str = ""
    must_win_on: str | None = None
    same_network: bool = False
    best: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    kind: ClassVar[str] = "promotion"
    """The kind of decision. The gate's decision on a version is the latest of this kind."""

    @property
    def verdict(self) -> str:
        """The decision in a word."""
        return "granted" if self.granted else "refused"

    @property
    def when(self) -> str:
        """When it was made, e.g. 2 December 2026, 14:05 UTC."""
        return datetime.fromisoformat(self.created).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")

    @property
    def failed(self) -> tuple[Reason, ...]:
        """The rules that were not passed."""
        return tuple(reason for reason in self.reasons if not reason.passed)

    @property
    def summary(self) -> str:
        """One sentence: what was decided and, if refused, by which rules."""
        against = f"against champion {self.champion}" if self.champion else "no champion yet"
        word = "promoted" if self.granted else f"refused: {', '.join(reason.rule for reason in self.failed)}"
        return f"{self.model} version {self.challenger} {word} ({against})"

    @property
    def groups(self) -> tuple[Grouped, ...]:
        """The slices of each attribute in `group_by` with two or more values among the held-out cases."""
        rows = {name: tuple(r for r in self.slices if r.name.startswith(f"{name}=")) for name in self.group_by}
        return tuple(Grouped(name, members) for name, members in rows.items() if len(members) > 1)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures."""
        return {
            "id": self.id,
            "kind": self.kind,
            "created": self.created,
            "model": self.model,
            "challenger": self.challenger,
            "digest": self.digest,
            "champion": self.champion,
            "champion_digest": self.champion_digest,
            "granted": self.granted,
            "summary": self.summary,
            "asked_by": self.asked_by,
            "why": self.why,
            "must_win_on": self.must_win_on,
            "same_network": self.same_network,
            "best": self.best,
            "links": self.links,
            "metric": self.metric,
            "data_hash": self.data_hash,
            "reasons": [asdict(reason) for reason in self.reasons],
            "slices": [_row(row) for row in self.slices],
            "classes": [_row(row) for row in self.classes],
            "groups": [one.to_json() for one in self.groups],
            "variants": [variant.model_dump() for variant in self.variants],
            "validation": self.validation,
        }

    def to_html(self) -> str:
        """A self-contained page."""
        from jinja2 import Environment, FileSystemLoader

        pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
        pictures = {caption: _data_uri(raw) for caption, raw in self.pictures.items()}
        return pages.get_template("decision.html.jinja").render(decision=self, pictures=pictures, enough=ENOUGH)

    def save(self) -> Path:
        """Writes the page and its JSON to var/decisions/<model>/; returns the page's path.

        The JSON is written last: where it is, the decision was made and has its page.
        """
        folder = settings().var / "decisions" / self.model
        page = write_file(folder / f"{self.id}.html", self.to_html())
        write_file(folder / f"{self.id}.json", json.dumps(self.to_json(), indent=2) + "\n")
        return page


def _row(row: SliceRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "challenger": row.challenger.model_dump(),
        "champion": row.champion.model_dump() if row.champion else None,
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
    }


def _data_uri(raw: bytes) -> str:
    kind = "png" if raw.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
