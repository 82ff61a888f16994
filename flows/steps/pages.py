"""Decision pages: reading them, and keeping to the limit `decision_pages`.

MLflow keeps the pages of promotions beside their versions, whatever is removed here.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.core.settings import settings
from registry.versions.mlflow_registry import Version, Versions

logger = logging.getLogger("visionloop.decisions")

UNFINISHED_S = 86400.0
"""A page without JSON, which is written last, may be unfinished for this long."""


def pages_folder(model: str) -> Path:
    return settings().var / "decisions" / model


def decisions(model: str) -> list[tuple[dict[str, Any], Path]]:
    """All decisions on a model's versions as JSON, each with its file, the latest first.

    Leaves out files that cannot be read.
    """
    found = []
    for path in pages_folder(model).glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            decision = json.loads(path.read_text(encoding="utf-8"))
            age = (str(decision["created"]), path.stat().st_mtime_ns)
            int(decision["challenger"])
            found.append((age, decision, path))
    found.sort(key=lambda one: one[0], reverse=True)
    return [(decision, path) for _, decision, path in found]


def is_promotion(decision: dict[str, Any]) -> bool:
    """Whether it is the gate's decision on a promotion, and not one on a release."""
    return bool(decision.get("kind", "promotion") == "promotion")


def prune_pages(model: str) -> None:
    """Removes the oldest pages of a model beyond `decision_pages`. Of versions that left the registry, it removes pages
    older than `report_days`.

    The latest page stays. So does the gate's decision on a version that has an alias, a part in the release plan or a
    service, because without it the version gets no traffic. Nothing is removed while registry or database is away.
    """
    try:
        _prune(model, Versions().list(model), _in_service(model))
    except Exception as error:  # the page is written; the next one prunes
        logger.info("old decision pages of %s were not removed: %s", model, error)


def _in_service(model: str) -> set[int]:
    """Versions that get traffic, or could get it at once."""
    from serving.releases import endpoints, store

    plan = store.plan(model)
    named = (plan.live, plan.previous, plan.second) if plan is not None else ()
    return {*(number for number in named if number), *(number for _, number in endpoints.announced(model))}


def _prune(model: str, registered: Collection[Version], in_service: Collection[int]) -> None:
    known = {(version.number, version.digest) for version in registered}
    numbers = {number for number, _ in known}
    needed = {(v.number, v.digest) for v in registered if v.aliases or v.number in in_service}
    pages = [(_bundle(decision), is_promotion(decision), path) for decision, path in decisions(model)]
    latest: dict[tuple[int, str], Path] = {}
    for bundle, promotion, path in pages:
        if promotion:
            latest.setdefault(bundle, path)
    kept = {path for _, _, path in pages[:1]}
    kept |= {path for bundle, path in latest.items() if bundle in needed or bundle[0] in in_service}
    oldest, room = time.time() - settings().report_days * 86400, settings().decision_pages - len(kept)
    for bundle, _, path in pages:
        if path in kept:
            continue
        registered_still = bundle in known if bundle[1] else bundle[0] in numbers
        if room <= 0 or (not registered_still and path.stat().st_mtime < oldest):
            path.unlink(missing_ok=True)  # first: where there is no JSON there is no decision
            path.with_suffix(".html").unlink(missing_ok=True)
        else:
            room -= 1
    _remove_unfinished(pages_folder(model))


def _bundle(decision: dict[str, Any]) -> tuple[int, str]:
    """Number and digest of the version that was decided on."""
    return int(decision["challenger"]), str(decision.get("digest", ""))


def _remove_unfinished(folder: Path) -> None:
    """Removes pages without a decision: the process died before it wrote the JSON."""
    for page in folder.glob("*.html"):
        with suppress(OSError):
            if not page.with_suffix(".json").exists() and page.stat().st_mtime < time.time() - UNFINISHED_S:
                page.unlink()
