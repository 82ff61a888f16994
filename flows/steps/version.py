"""A bundle becomes a version, is decided on and packaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry import catalog, journal
from registry.bundle import Bundle
from registry.decision import Decision
from registry.files import write_file
from registry.settings import settings
from registry.versions import CHAMPION, PREVIOUS, Version, Versions


def register(model: str, bundle: Bundle) -> Version:
    """The bundle as a version in MLflow; a bundle that is one already is not sent again."""
    with journal.step("register", "Register", model, usually_s=8) as running:
        stamp = settings().build / model / "registered.json"
        known = _known(stamp, bundle)
        if known is not None:
            running.skip(f"it is version {known.number} already")
            return known
        run = settings().build / model / "train" / "run.json"
        run_id = json.loads(run.read_text()).get("run_id") if run.is_file() else None
        version = Versions().register(bundle, run_id)
        write_file(stamp, json.dumps({**version.__dict__, "store": settings().mlflow_address}))
        running.note = f"version {version.number}"
        journal.fact(
            "register",
            f"version {version.number}, bundle {version.digest[:12]}",
            model,
            link=f"{settings().mlflow_address}/#/models/{model}/versions/{version.number}",
            label="in MLflow",
        )
        return version


def _known(stamp: Path, bundle: Bundle) -> Version | None:
    """The version that the stamp remembers, if MLflow still has it. Asks over HTTP: importing mlflow takes seconds."""
    import httpx

    try:
        said = json.loads(stamp.read_text())
        if said.pop("store") != settings().mlflow_address or said["digest"] != bundle.digest:
            return None
        version = Version(**{**said, "aliases": tuple(said["aliases"])})
        answer = httpx.get(
            f"{settings().mlflow_address}/api/2.0/mlflow/model-versions/get",
            params={"name": version.model, "version": str(version.number)},
            timeout=5,
            trust_env=False,
        )
        tags = {tag["key"]: tag["value"] for tag in answer.json()["model_version"].get("tags", [])}
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError, httpx.InvalidURL):
        return None
    return version if tags.get("visionloop.digest") == version.digest else None


def decided(version: Version) -> dict[str, Any] | None:
    """The gate's latest decision about a version, as its JSON says; None if there was none."""
    found = [json.loads(path.read_text()) for path in (settings().var / "decisions" / version.model).glob("*.json")]
    mine = [one for one in found if one["challenger"] == version.number and one.get("kind", "promotion") == "promotion"]
    return max(mine, key=lambda one: str(one["created"]), default=None)


def decide(version: Version, asked_by: str, why: str, must_win_on: str | None = None) -> bool:
    """The gate's word on a version, with its page; a version that was decided on keeps its decision."""
    model = version.model
    with journal.step("decide", "Decide", model, usually_s=15) as running:
        earlier = decided(version)
        if earlier is not None:
            running.skip(str(earlier["summary"]))
            return bool(earlier["granted"])
        from training import gate

        versions = Versions()
        champion = versions.find(model, CHAMPION)
        decision: Decision = gate.decide(
            version,
            versions.fetch(version),
            champion,
            versions.fetch(champion) if champion else None,
            asked_by=asked_by,
            why=why,
            must_win_on=must_win_on,
        )
        page = decision.save()
        for path in (page, page.with_suffix(".json")):
            versions.attach(version, path, "decisions")
        versions.note(version, decision="granted" if decision.granted else "refused", decision_page=page.name)
        if decision.granted:
            versions.promote(version)
        running.note = "promoted" if decision.granted else "refused"
        rows = [
            {"name": row.name, "before": row.champion.value, "after": row.challenger.value}
            for row in decision.slices
            if row.champion is not None
        ]
        before_after = {
            "compare": {
                "metric": catalog.get(model).metric.title,
                "rows": rows,
                "before": f"version {decision.champion}",
                "after": f"version {decision.challenger}",
            }
        }
        journal.fact(
            "decide",
            decision.summary,
            model,
            link=str(page.relative_to(settings().var)),
            label="the decision page",
            granted=decision.granted,
            reasons=[reason.__dict__ for reason in decision.reasons],
            **(before_after if rows else {}),
        )
        return decision.granted


def package(version: Version) -> str:
    """The Bento of a version; returns its tag."""
    from serving import packaging

    with journal.step("package", "Package", version.model, usually_s=8) as running:
        tag = packaging.package(version, Versions().fetch(version))
        running.note = tag
    return tag


def return_alias(model: str, left: int, returned_to: int) -> bool:
    """After a rollback of the traffic: makes the version it returned to champion, where the one it left was that.

    Not where the gate did not grant that version: what was released anyway is never champion.
    """
    from serving import grants

    versions = Versions()
    champion = versions.find(model, CHAMPION)
    if left == returned_to or champion is None or champion.number != left:
        return False
    back = versions.get(model, returned_to)
    if PREVIOUS not in back.aliases and not grants.word(model, back.digest, back.number).granted:
        return False
    versions.promote(back)
    return True
