"""Releases a packaged version: it gets all traffic, a share, or copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.core import database, journal
from registry.core.settings import settings
from registry.versions.mlflow_registry import Version

if TYPE_CHECKING:
    from serving.releases.endpoints import Endpoint
    from serving.releases.orders import Say
    from serving.releases.plans import Plan


def release(
    version: Version, tag: str, *, who: str = "", why: str = "", anyway: str = "", back: bool = False
) -> Endpoint:
    """Gives a version all traffic. The guard starts its Bento, which checks its golden samples, and changes the plan.

    Args:
        who: for the history; "": the person at the command line.
        back: this is a rollback.

    Raises what `serving.releases.deploy.roll_out` raises, and MissingService if the router does not follow the plan.
    """
    from serving.releases import deploy, endpoints, grants, store

    model = version.model
    database.migrate()
    with journal.step("release", "Release", model, usually_s=12) as running:
        live, before = store.live(model), store.revision(model)
        plan = deploy.roll_out(version, tag, who=who, why=why, anyway=anyway, back=back, say=_journal_progress(model))
        if plan.revision == before:
            running.skip(f"version {version.number} gets the traffic already")
        else:
            deploy.follow(plan)
            address = f"{settings().router_address}/v1/models/{model}"
            without = grants.ungranted_reason(endpoints.announced(model)[model, version.number])
            running.note = f"version {version.number} gets the traffic" + (
                f" {'without the gate' if back else 'with `--anyway`'}: {without}" if without else ""
            )
            journal.fact(
                "release",
                f"version {version.number} answers at {address}/predict"
                + (f"; version {live.version} had it until now and finishes its requests" if live else ""),
                model,
                link=f"{address}/docs",
                label="the API page",
            )
            _journal_grant(model, version.number, without)
    return endpoints.announced(model)[model, version.number]


def start_plan(plan: Plan, version: Version, tag: str, *, who: str = "", why: str = "", anyway: str = "") -> Plan:
    """Puts a plan with two versions into effect. Otherwise as `release`."""
    from serving.releases import deploy, endpoints, grants, store

    with journal.step("release", "Release", plan.model, usually_s=12) as running:
        changed = deploy.begin(plan, version, tag, who=who, why=why, anyway=anyway, say=_journal_progress(plan.model))
        deploy.follow(changed)
        running.note = store.in_words(changed)
        if plan.kind != "shadow":
            service = endpoints.announced(plan.model)[plan.model, version.number]
            _journal_grant(plan.model, version.number, grants.ungranted_reason(service))
    return changed


def _journal_grant(model: str, version: int, without: str) -> None:
    """Notes for the story page whether the gate granted a version that gets traffic. `without`: why not, or ""."""
    if without:
        text = f"the gate did not grant version {version}; released anyway: {without}"
        journal.fact("release", text, model, alarm=True, version=version, anyway=without)
    else:
        journal.fact("release", f"the gate granted version {version}", model, version=version, anyway="")


def _journal_progress(model: str) -> Say:
    """Shows how far a release is, in the terminal and on the story page."""
    stages = iter(range(1, 3))

    def tell(line: str) -> None:
        journal.progress("release", next(stages, 2), 3, note=line, model=model)

    return tell


def is_live(version: Version) -> bool:
    """Whether this version gets the traffic and answers. Then there is nothing to package or start."""
    from serving.releases import deploy, store

    database.migrate()
    live = store.live(version.model)
    if live is None or live.version != version.number or not deploy.is_ready(live):
        return False
    for name in ("package", "release"):
        with journal.step(name, name.capitalize(), version.model) as running:
            running.skip(f"version {version.number} gets the traffic already")
    return True
