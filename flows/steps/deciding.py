"""Decides on a version: asks the gate, then sets the alias, the tags and the page beside the version.

A decision is made once its JSON is in var/decisions. What follows may be interrupted at any point; the next call
finishes it. The tag `decision_id` is written last. Where it is set there is nothing to finish, so a version that was
rolled back afterwards does not become champion again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.steps.pages import decisions, is_promotion, pages_folder, prune_pages
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import Refused, VisionloopError
from registry.core.settings import settings
from registry.versions.decision import Decision, Reason
from registry.versions.mlflow_registry import CHAMPION, PREVIOUS, Version, Versions

if TYPE_CHECKING:
    from training.gate import gate

ATTEMPTS = 3
BEST = "best_so_far"
"""Tag of a champion: slice -> the version that was best on it, this one or an earlier one."""


def latest_decision(version: Version) -> dict[str, Any] | None:
    """The gate's latest decision on this bundle, as JSON. None if there was none."""
    for decision, _ in decisions(version.model):
        same = decision["challenger"] == version.number and decision.get("digest") == version.digest
        if same and is_promotion(decision):
            return decision
    return None


def refusal(version: Version) -> Refused:
    """Why a version that was decided on is not champion, as an error."""
    decision, again = latest_decision(version) or {}, f"`visionloop promote {version.model} {version.number}`"
    if decision.get("granted"):
        return Refused(
            f"{version} was granted, but another version has become champion since",
            expected="a new version, or the champion's",
            fix=f"{again} makes this one champion again",
        )
    failed = [f"  ✗ {Reason(**one)}" for one in decision.get("reasons", ()) if not one["passed"]]
    return Refused(
        "\n".join([str(decision.get("summary", f"{version} is not promoted")), *failed]),
        fix=f"`visionloop decisions {version}` names every rule and the page; new data make the gate judge it again",
    )


def decide(version: Version, asked_by: str, why: str, must_win_on: str | None = None, *, again: bool = False) -> bool:
    """Asks the gate, saves the page, and makes a granted version champion. Returns whether it is champion now.

    A version that has a decision keeps it. What an interrupted run left undone is finished.

    Args:
        again: a person asks. A version that was granted, and then replaced or rolled back, becomes champion again; if
            the champion has changed since the comparison, the gate decides anew. A version that was refused is judged
            again once the data has changed.

    Raises:
        MissingService: MLflow does not answer. The next call continues from there.
    """
    model, versions = version.model, Versions()
    with journal.step("decide", "Decide", model, usually_s=15) as running:
        for _ in range(ATTEMPTS):
            versions.settle(model)
            decision = earlier = latest_decision(version)
            if decision is not None and again and not decision["granted"] and _other_data(version, decision):
                decision = None
            if decision is None and _is_champion(versions, version):
                # Its page was removed, or was written before pages had a digest.
                running.skip(f"{version} is champion already")
                return True
            if decision is not None and _holds(versions, version, decision, again):
                word = "granted" if decision["granted"] else "refused"
                running.skip(f"{version} was {word} on {str(decision['created'])[:10]}")
            else:
                decision = _ask(versions, version, asked_by, why, must_win_on or (earlier or {}).get("must_win_on"))
            with alias_lock(model):
                if _holds(versions, version, decision, again):
                    champion = _carry_out(versions, version, decision, again)
                    break
            # Another version became champion while the gate was at work: its decision no longer holds.
        else:
            raise VisionloopError(
                f"the champion of {model} changed {ATTEMPTS} times while the gate compared {version} with it",
                expected="one promotion or rollback at a time",
                fix=f"`visionloop promote {model} {version.number}` asks again",
            )
        if decision is not earlier:
            running.note = f"version {version.number} {'promoted' if champion else 'refused'}"
            prune_pages(model)
        if decision["granted"] and not champion:
            running.note = (
                f"version {version.number} granted, but another version is champion by now; "
                f"`visionloop promote {model} {version.number}` makes this one champion again"
            )
        return champion


def _holds(versions: Versions, version: Version, decision: dict[str, Any], again: bool) -> bool:
    """Whether a decision is still to be carried out, or has been carried out."""
    champion = versions.find(version.model, CHAMPION)
    if champion is not None and champion.number == version.number:
        return True
    compared = (champion.number, champion.digest) if champion else (None, "")
    if (decision["champion"], decision["champion_digest"]) == compared:
        return True
    return not again and _finished(versions, version, decision)


def _other_data(version: Version, decision: dict[str, Any]) -> bool:
    from training.workspace.workspace import open_workspace

    return open_workspace(version.model).data_hash != decision["data_hash"]


def _finished(versions: Versions, version: Version, decision: dict[str, Any]) -> bool:
    return versions.tags(version).get("decision_id") == decision["id"]


def _ask(versions: Versions, version: Version, asked_by: str, why: str, must_win_on: str | None) -> dict[str, Any]:
    """Makes a new decision and its page. Returns it as JSON."""
    from training.gate import gate

    champion = versions.find(version.model, CHAMPION)
    decision = gate.decide(
        version,
        versions.fetch(version),
        champion,
        versions.fetch(champion) if champion else None,
        asked_by=asked_by,
        why=why,
        must_win_on=must_win_on,
        best=_best(versions, champion) if champion else None,
    )
    decision = replace(decision, links=versions.pages(version))
    _journal(decision, decision.save())
    return decision.to_json()


def _best(versions: Versions, champion: Version) -> gate.Best:
    """The best champions so far, as the champion's tag names them."""
    from training.gate import gate

    numbers = {str(k): int(v) for k, v in json.loads(versions.tags(champion).get(BEST, "{}")).items()}
    found = {number: versions.find(champion.model, number) for number in {*numbers.values()} - {champion.number}}
    return gate.Best(numbers, {number: versions.fetch(one) for number, one in found.items() if one is not None})


def _carry_out(versions: Versions, version: Version, decision: dict[str, Any], again: bool) -> bool:
    """Sets alias, page and tags as the decision says. Returns whether the version is champion now."""
    finished = _finished(versions, version, decision)
    if decision["granted"] and (again or not finished):
        # A version with the alias `previous` was champion: it was promoted and then rolled back.
        previous = versions.find(version.model, PREVIOUS)
        if again or previous is None or previous.number != version.number:
            versions.note(version, **{BEST: decision["best"]})  # before it is champion: the next decision reads it
            versions.promote(version)
    if not decision["granted"]:
        versions.refuse(version)
    if not finished:
        page = pages_folder(version.model) / f"{decision['id']}.html"
        for path in (page, page.with_suffix(".json")):
            versions.attach(version, path, "decisions")
        address = f"{settings().home_address}/decisions/{version.model}/{page.name}"
        versions.describe(version, f"[{decision['summary']}]({address})")
        word = "granted" if decision["granted"] else "refused"
        versions.note(version, decision=word, decision_page=page.name, decision_id=decision["id"])
    return bool(decision["granted"]) and _is_champion(versions, version)


def _is_champion(versions: Versions, version: Version) -> bool:
    champion = versions.find(version.model, CHAMPION)
    return champion is not None and champion.number == version.number


def _journal(decision: Decision, page: Path) -> None:
    rows = [
        {"name": row.name, "before": row.champion.value, "after": row.challenger.value}
        for row in decision.slices
        if row.champion is not None
    ]
    before_after = {
        "compare": {
            "metric": catalog.get(decision.model).metric.title,
            "rows": rows,
            "before": f"version {decision.champion}",
            "after": f"version {decision.challenger}",
        }
    }
    journal.fact(
        "decide",
        decision.summary,
        decision.model,
        link=str(page.relative_to(settings().var)),
        label="the decision page",
        granted=decision.granted,
        reasons=[reason.__dict__ for reason in decision.reasons],
        **(before_after if rows else {}),
    )


@contextmanager
def alias_lock(model: str) -> Iterator[None]:
    """Lets one process of this machine change a model's aliases at a time."""
    path = settings().var / "run" / f"alias-{model}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
