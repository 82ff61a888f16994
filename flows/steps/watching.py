"""The monitor's step, and waiting for services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flows.steps.locks import is_busy
from registry.core import database, journal
from registry.core.errors import MissingService, NotFound
from registry.core.settings import settings
from registry.versions.mlflow_registry import Versions

if TYPE_CHECKING:
    from monitoring.drift.verdict import Verdict


def pending_reason(model: str) -> str:
    """Why the next verdict on the live version is not due yet, in words. "" if it is due. Costs next to nothing."""
    from monitoring.drift import due
    from serving.releases import store

    database.migrate()
    live = store.live(model)
    return due.pending_reason(model, live.version) if live else ""


def unwatched_reason(model: str) -> str:
    """Why there can be no verdict on the model, in words. "" if there can be one."""
    from serving.releases import store

    database.migrate()
    if store.live(model) is not None:
        return ""
    return f"{model} is not watched: no version of it is live; `visionloop run {model}` releases one"


def in_words(verdict: Verdict, page: str) -> str:
    """The verdict for the terminal: its action, why, the statistics that it left out, and where its page is."""
    reasons: dict[str, list[str]] = {}
    for name, reason in verdict.unwatched.items():
        reasons.setdefault(reason, []).append(name)
    left_out = [f"not watched: {', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return "\n".join([f"{verdict.action}: {verdict.why}", *left_out, page])


def watch(model: str, *, last: int | None = None, since: float | None = None, step: str = "monitor") -> Verdict:
    """Judges the live version's recent predictions. Raises NotFound if no version is live."""
    from monitoring.report.watch import make_verdict as judge
    from serving.releases import store

    database.migrate()
    title = "Compare again" if step == "quiet" else "Compare with the reference"
    with journal.step(step, title, model, usually_s=20) as running:
        live = store.live(model)
        if live is None:
            raise NotFound(
                f"no version of {model} is live", expected="a released version", fix=f"`visionloop run {model}`"
            )
        versions = Versions()
        bundle = versions.fetch(versions.get(model, live.version))
        verdict = judge(model, live.version, bundle, last=last, since=since, learning=is_busy(model))
        running.note = f"version {verdict.version}: {'DRIFT' if verdict.drifted else 'no drift'}"
        pictures = [
            {"picture": str(path), "caption": path.stem.replace("-", " ")}
            for path in sorted(verdict.folder.glob("responsible-*.jpg"))
        ]
        journal.fact(
            step,
            verdict.why,
            model,
            link=str(verdict.page.relative_to(settings().var)),
            label="the drift report",
            alarm=verdict.drifted,
            pictures=pictures[:6] if verdict.drifted else [],
            verdict=verdict.id,
            action=verdict.action,
        )
    return verdict


def wait_for(address: str, name: str, seconds: float) -> None:
    """Waits until an HTTP address answers. Raises MissingService."""
    import httpx

    end = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(address, timeout=2, trust_env=False).status_code < 500:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > end:
            raise MissingService(
                f"{name} does not answer at {address}", expected="an answer", fix=f"`visionloop logs {name}` says why"
            )
        time.sleep(0.25)
