"""A decision: one page for every promotion, granted or refused. No page, no promotion."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from registry.bundle import Score, Variant
from registry.files import write_file
from registry.settings import settings


@dataclass(frozen=True)
class Reason:
    """One rule of the gate: what it found, what it asks for."""

    rule: str
    passed: bool
    found: str
    expected: str


@dataclass(frozen=True)
class SliceRow:
    """The metric of both versions on one slice of the same held-out data.

    `difference` is challenger minus champion, [low, high] its paired 95 % bootstrap interval.
    """

    name: str
    challenger: Score
    champion: Score | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Decision:
    """What the gate saw and said. `pictures` maps a caption to a JPEG or PNG."""

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
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def summary(self) -> str:
        """One sentence: what was decided and, if refused, by which rules."""
        against = f"champion {self.champion}" if self.champion else "no champion yet"
        if self.granted:
            return f"{self.model} version {self.challenger} promoted ({against})"
        failed = "; ".join(f"{r.rule}: {r.found}, expected {r.expected}" for r in self.reasons if not r.passed)
        return f"{self.model} version {self.challenger} refused ({against}): {failed}"

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures."""
        return {
            "id": self.id,
            "created": self.created,
            "model": self.model,
            "challenger": self.challenger,
            "champion": self.champion,
            "granted": self.granted,
            "summary": self.summary,
            "asked_by": self.asked_by,
            "why": self.why,
            "metric": self.metric,
            "data_hash": self.data_hash,
            "reasons": [asdict(reason) for reason in self.reasons],
            "slices": [
                {
                    "name": row.name,
                    "challenger": row.challenger.model_dump(),
                    "champion": row.champion.model_dump() if row.champion else None,
                    "difference": row.difference,
                    "low": row.low,
                    "high": row.high,
                }
                for row in self.slices
            ],
            "variants": [variant.model_dump() for variant in self.variants],
            "validation": self.validation,
        }

    def to_html(self) -> str:
        """A self-contained page."""
        from jinja2 import Environment, FileSystemLoader

        pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
        pictures = {caption: _data_uri(raw) for caption, raw in self.pictures.items()}
        return pages.get_template("decision.html.jinja").render(decision=self, pictures=pictures)

    def save(self) -> Path:
        """Writes the page and its JSON to var/decisions/<model>/; returns the page's path."""
        folder = settings().var / "decisions" / self.model
        write_file(folder / f"{self.id}.json", json.dumps(self.to_json(), indent=2) + "\n")
        return write_file(folder / f"{self.id}.html", self.to_html())


def _data_uri(raw: bytes) -> str:
    kind = "png" if raw.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
