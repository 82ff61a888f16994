"""What is known about a model: its card, the live version and its test cases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from serving.gallery import versions
from serving.gallery.cards import Card
from serving.runs import bundles

DOCUMENTS = Path(__file__).parents[2] / "docs" / "models"
_LINK = re.compile(r" \(\[[^]]+\]\([^)]+\)\)|\[([^]]+)\]\([^)]+\)")
"""Links of Markdown lead nowhere here: those in brackets are left out, of others the words stay."""
_MARKS = re.compile(r"`|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)")
"""Of code and emphasis."""
PARTS = ("Use.", "Misuse.", "Limits.", "Data.", "Measured.")
CLEARER = {"Measured": "Measured by the authors of this model, on a version of theirs"}
"""Headings that would be misread beside the figures of the live version."""


@dataclass(frozen=True)
class Paragraph:
    """A part of the model card, e.g. "Misuse", as plain text."""

    title: str
    text: str


def of(card: Card) -> dict[str, Any]:
    """Facts of the live version, all versions, its data, and paragraphs of the model card."""
    manifest = card.manifest
    bundle = bundles.of_version(card.spec.name, card.version) if card.version is not None else None
    return {
        "versions": versions.of(card.spec.name),
        "data": versions.data_of(bundle) if bundle else None,
        "paragraphs": paragraphs(card.spec.name),
        "created": manifest.created[:10] if manifest else "",
        "chosen": manifest.chosen if manifest else None,
        "slices": sorted(manifest.slices.items()) if manifest else [],
        "classes": manifest.classes if manifest else card.spec.classes,
    }


def threshold(card: Card) -> float | None:
    """The score above which the live version counts something as found."""
    found = (card.manifest.thresholds if card.manifest else {}).get("score")
    return float(found) if isinstance(found, int | float) else None


@lru_cache(maxsize=32)
def paragraphs(model: str) -> tuple[Paragraph, ...]:
    """Of `docs/models/<model>.md`: each begins with its title in bold. None where there is no such document."""
    try:
        text = (DOCUMENTS / f"{model}.md").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    found = []
    for block in text.split("\n\n"):
        title, star, rest = block.removeprefix("**").partition("**")
        if block.startswith("**") and star and title in PARTS:
            title = title.rstrip(".")
            found.append(Paragraph(CLEARER.get(title, title), _MARKS.sub("", _LINK.sub(r"\1", " ".join(rest.split())))))
    return tuple(found)
