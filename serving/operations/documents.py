"""The pages that the loop writes into `var`: decisions, drift reports and data docs. Their index, and their files."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.core.settings import settings

PATTERNS = {
    "decisions": "{model}/*.html",
    "reports": "{model}/*/index.html",
    "data-docs": "validations/{model}/*/*/*.html",  # validations/MODEL/__none__/TIME/SUITE.html
}
"""Folder of `var` -> its pages."""
MOST = 500


@dataclass(frozen=True)
class Document:
    """A page. `path`: in its folder; `version`: None where it is about data; `good`: granted, no drift, data passed."""

    folder: str
    path: str
    model: str
    time: datetime
    version: int | None
    good: bool | None
    text: str


def find(folder: str, model: str = "", most: int = MOST) -> list[Document]:
    """The latest pages of a folder, the newest first.

    Args:
        folder: a key of `PATTERNS`.
        model: only this model's; "": all.
    """
    base = settings().var / folder
    return [_document(folder, base, path, when) for when, path in pages(settings().var, folder, model, most)]


def pages(var: Path, folder: str, model: str = "", most: int = MOST) -> list[tuple[float, Path]]:
    """The latest pages of a folder of `var` with their times, the newest first. `model`: as for `find`."""
    dated: list[tuple[float, Path]] = []
    for path in (var / folder).glob(PATTERNS[folder].format(model=model or "*")):
        with suppress(OSError):  # removed a moment ago
            if not path.is_symlink():
                dated.append((path.stat().st_mtime, path))
    dated.sort(reverse=True)
    return dated[:most]


def beside(folder: str, path: Path) -> Path:
    """The JSON beside a page."""
    return path.with_name("verdict.json") if folder == "reports" else path.with_suffix(".json")


def file(folder: str, path: str) -> Path | None:
    """A file of a folder; None where there is none, or where the path leads out of it."""
    if folder not in PATTERNS:
        return None
    base = (settings().var / folder).resolve()
    found = (base / path).resolve()
    return found if found.is_relative_to(base) and found.is_file() else None


def _document(folder: str, base: Path, path: Path, when: float) -> Document:
    parts = path.relative_to(base).parts
    facts = _facts(folder, path)
    good = {"decisions": facts.get("granted"), "reports": _not(facts.get("drifted"))}.get(folder, facts.get("passed"))
    number = facts.get("challenger", facts.get("version"))
    return Document(
        folder,
        "/".join(parts),
        parts[1] if folder == "data-docs" else parts[0],
        datetime.fromtimestamp(when, UTC),
        number if isinstance(number, int) else None,
        good if isinstance(good, bool) else None,
        str(facts.get("summary") or facts.get("why") or ""),
    )


def _facts(folder: str, path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(beside(folder, path).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _not(value: Any) -> bool | None:
    return not value if isinstance(value, bool) else None


def by_version(model: str) -> dict[int, Document]:
    """The latest decision on each version."""
    found: dict[int, Document] = {}
    for one in find("decisions", model):
        if one.version is not None:
            found.setdefault(one.version, one)
    return found
