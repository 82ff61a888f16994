"""Decision pages have a limit (`decision_pages`), kept by whoever writes one and has the registry at hand.

MLflow keeps the pages of promotions beside their versions, whatever leaves here.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.core.settings import settings
from registry.versions.mlflow_registry import Version, Versions

logger = logging.getLogger("visionloop.decisions")

UNFINISHED_S = 86400.0
"""For so long a page without its JSON, which is written last, may still be one that is being written."""


@dataclass(frozen=True)
class _Page:
    """A decision's JSON; its page has the same name. `time`: when it was made, for sorting."""

    path: Path
    time: tuple[str, int]
    version: int
    digest: str
    promotion: bool

    @property
    def bundle(self) -> tuple[int, str]:
        return (self.version, self.digest)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)  # first: where there is no JSON there is no decision
        self.path.with_suffix(".html").unlink(missing_ok=True)


def prune_pages(model: str) -> None:
    """Removes the oldest pages of a model beyond `decision_pages`, and those older than `report_days` of versions that
    the registry has no more.

    The gate's word on a version with an alias, or a part in the release plan, or a service, always stays: without it
    the version gets no traffic. So does the latest page. Nothing is removed while registry or database are away.
    """
    try:
        _prune(model, Versions().list(model), _in_service(model))
    except Exception as error:  # what wrote a page has done its work; the next one tries again
        logger.info("decision pages of %s are not looked through for what is too old: %s", model, error)


def _in_service(model: str) -> set[int]:
    """Versions that get traffic, or could at once."""
    from serving.releases import endpoints, store

    plan = store.plan(model)
    named = (plan.live, plan.previous, plan.second) if plan is not None else ()
    return {*(number for number in named if number), *(number for _, number in endpoints.announced(model))}


def _prune(model: str, registered: Collection[Version], in_service: Collection[int]) -> None:
    folder = settings().var / "decisions" / model
    pages = sorted(_pages(folder), key=lambda page: page.time, reverse=True)
    known = {(version.number, version.digest) for version in registered}
    numbers = {number for number, _ in known}
    needed = {(v.number, v.digest) for v in registered if v.aliases or v.number in in_service}
    words: dict[tuple[int, str], _Page] = {}
    for page in pages:
        if page.promotion:
            words.setdefault(page.bundle, page)
    kept = {page.path for page in pages[:1]}
    kept |= {page.path for bundle, page in words.items() if bundle in needed or bundle[0] in in_service}
    oldest, room = time.time() - settings().report_days * 86400, settings().decision_pages - len(kept)
    for page in pages:
        if page.path in kept:
            continue
        there = page.bundle in known if page.digest else page.version in numbers
        if room <= 0 or (not there and page.time[1] < oldest * 1e9):
            page.remove()
        else:
            room -= 1
    _remove_torn(folder)


def _pages(folder: Path) -> list[_Page]:
    found = []
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(path.read_text(encoding="utf-8"))
            found.append(
                _Page(
                    path,
                    (str(said["created"]), path.stat().st_mtime_ns),
                    int(said["challenger"]),
                    str(said.get("digest", "")),
                    said.get("kind", "promotion") == "promotion",
                )
            )
    return found


def _remove_torn(folder: Path) -> None:
    """Pages whose decision was never made: the process died before it wrote the JSON."""
    for page in folder.glob("*.html"):
        with suppress(OSError):
            if not page.with_suffix(".json").exists() and page.stat().st_mtime < time.time() - UNFINISHED_S:
                page.unlink()
