"""What the front page shows. A part that is away says so; the others are shown all the same."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Count
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext

from monitoring.log import spool
from monitoring.log.models import Verdict
from registry.contract import catalog
from registry.core.errors import MissingService
from registry.core.settings import settings
from serving.accounts.models import Letter, Message
from serving.operations import mlflow_api, prefect_api, supervisor
from serving.operations.prefect_api import Run
from serving.operations.supervisor import Process
from serving.releases import deploy, endpoints, older, orders, store
from serving.releases.packaging import process_name
from serving.releases.plans import Plan
from serving.router import traffic
from serving.router.traffic import Latencies
from serving.tasks.models import Task
from serving.translation import errors, specs, states

LAST = timedelta(hours=1)
WAITS_S = 300.0
"""Predictions reach the database within seconds, unless the keeper or the database is away."""
LEAST_FREE = 0.05
LEAST_FREE_BYTES = 2 * 10**9
ELSEWHERE = ("mlflow", "external")
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Something that needs a person. `url`: where to look."""

    text: str
    url: str = ""


@dataclass(frozen=True)
class ServiceRow:
    """A process; of one that serves a version the latencies of the last hour, milliseconds."""

    process: Process
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class ReleaseRow:
    """A model's release plan with the last hour's requests. `order`: a change that the guard is carrying out."""

    plan: Plan
    title: str
    calls: int
    errors: int
    trouble: str
    order: Any


@dataclass(frozen=True)
class VerdictRow:
    """The latest verdict on a model. `page`: below `reports`; `pictures`: of the inputs responsible, likewise."""

    verdict: Verdict
    title: str
    page: str
    pictures: list[str]


@dataclass
class Overview:
    """Everything on the front page. `away`: part -> why it is not shown."""

    services: list[ServiceRow] = field(default_factory=list)
    releases: list[ReleaseRow] = field(default_factory=list)
    verdicts: list[VerdictRow] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    spool_bytes: int = 0
    spool_waits_s: float = 0.0
    dropped: int = 0
    free_bytes: int = 0
    disk_bytes: int = 0
    away: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def free_percent(self) -> float:
        return 100 * self.free_bytes / max(self.disk_bytes, 1)


def gather() -> Overview:
    """Asks the supervisor, the database, Prefect and the disk."""
    found = Overview()
    counted = {plan.model: traffic.read(plan.model, since=datetime.now(UTC) - LAST) for plan in store.plans()}
    found.services = _part(found, "services", lambda: _services(counted)) or []
    running = {row.process.name for row in found.services}
    found.releases = [_release(plan, counted[plan.model], running) for plan in store.plans() if plan.model in counted]
    found.verdicts = _verdicts()
    found.runs = _part(found, "runs", lambda: prefect_api.runs(6)) or []
    if "services" in found.away or any((one.process.name, one.process.state) == ELSEWHERE for one in found.services):
        _part(found, "registry", mlflow_api.check)  # the supervisor does not look after it
    found.waiting = _waiting()
    found.spool_bytes = sum(path.stat().st_size for path in spool.folder().glob("*.jsonl") if path.exists())
    waits_since = spool.waits_since()
    found.spool_waits_s = max(0.0, time.time() - waits_since) if waits_since else 0.0
    found.dropped = spool.dropped().predictions
    usage = shutil.disk_usage(settings().var)
    found.free_bytes, found.disk_bytes = usage.free, usage.total
    found.problems = _problems(found)
    return found


def _part(found: Overview, name: str, ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except MissingService as error:
        found.away[name] = errors.in_words(error)
        return None


def _services(counted: dict[str, Any]) -> list[ServiceRow]:
    served = {process_name(one.tag): one for one in endpoints.announced().values()}
    rows = []
    for process in supervisor.processes():
        latencies = Latencies()
        endpoint = served.get(process.name)
        for (version, _), counts in counted.get(endpoint.model if endpoint else "", {}).items():
            if endpoint is not None and version == endpoint.version:
                latencies.buckets.update(counts.latencies.buckets)
        rows.append(ServiceRow(process, *(latencies.known_quantile(q, 1) for q in (0.5, 0.95))))
    return rows


def _release(plan: Plan, counted: dict[Any, Any], running: set[str]) -> ReleaseRow:
    services = endpoints.announced(plan.model, retired=True)
    used = [found for v in (plan.live, plan.second) if v and (found := services.get((plan.model, v)))]
    trouble = next((one.problem for one in used if one.problem), "")
    silent = next((one for one in used if process_name(one.tag) not in running and not deploy.is_ready(one)), None)
    if silent is not None and not trouble:
        trouble = gettext("version %(version)s does not answer") % {"version": silent.version}
    return ReleaseRow(
        plan,
        specs.title(plan.model),
        sum(one.calls for one in counted.values()),
        sum(one.errors for one in counted.values()),
        trouble.partition("\n")[0],
        orders.open_order(plan.model),
    )


def _verdicts() -> list[VerdictRow]:
    rows = []
    for model in catalog.names():
        verdict = Verdict.objects.filter(model=model).order_by("-time").first()
        if verdict is not None:
            page = f"{model}/{verdict.id}/index.html"
            folder = settings().var / "reports" / model / verdict.id
            shown = sorted(path.name for path in folder.glob("responsible-*.jpg")) if verdict.drifted else []
            pictures = [f"{model}/{verdict.id}/{name}" for name in shown[:4]]
            rows.append(VerdictRow(verdict, specs.title(model), page if folder.is_dir() else "", pictures))
    return rows


def _waiting() -> dict[str, int]:
    tasks = dict(Task.objects.filter(state__in=("queued", "running")).values_list("state").annotate(Count("id")))
    letters = dict(Letter.objects.exclude(state=Letter.State.SENT).values_list("state").annotate(Count("id")))
    return {
        "queued": tasks.get("queued", 0),
        "running": tasks.get("running", 0),
        "letters": letters.get("waiting", 0),
        "unsent": letters.get("failed", 0),
        "messages": Message.objects.filter(state=Message.State.NEW).count(),
    }


def _problems(found: Overview) -> list[Problem]:
    problems = [Problem(why) for why in found.away.values()]
    for row in found.services:
        if not row.process.well:
            given = {"name": row.process.name, "state": states.translated(row.process.state), "note": row.process.note}
            problems.append(Problem((gettext("%(name)s is %(state)s %(note)s") % given).strip(), "#services"))
    for release in found.releases:
        if release.trouble:
            given = {"model": release.title, "trouble": release.trouble}
            problems.append(Problem(gettext("%(model)s: %(trouble)s") % given, "#releases"))
    for old in older.find():
        given = {"version": str(old.version), "model": specs.title(old.model), "command": old.command}
        text = gettext(
            "Version %(version)s of %(model)s was packaged from other code than this, and may not know what pages ask: "
            "`%(command)s` packages it anew"
        )
        problems.append(Problem(text % given, reverse("office_model", args=[old.model])))
    for judged in found.verdicts:
        if judged.verdict.drifted:
            given = {"model": judged.title, "why": judged.verdict.why}
            problems.append(Problem(gettext("Drift in %(model)s: %(why)s") % given, "#drift"))
    return problems + [problem for problem, true in _limits(found) if true]


def _limits(found: Overview) -> list[tuple[Problem, bool]]:
    free = {"percent": f"{found.free_percent:.0f}", "gigabytes": number_format(found.free_bytes / 1e9, 1)}
    little = found.free_percent < 100 * LEAST_FREE or found.free_bytes < LEAST_FREE_BYTES
    return [
        (Problem(gettext("The disk has %(gigabytes)s GB (%(percent)s %%) free") % free, "#disk"), little),
        (
            Problem(
                gettext("Predictions have waited for %(minutes)s minutes, and the keeper does not store them")
                % {"minutes": round(found.spool_waits_s / 60)},
                "#disk",
            ),
            found.spool_waits_s > WAITS_S,
        ),
        (
            Problem(gettext("The full spool dropped %(count)s predictions") % {"count": found.dropped}, "#disk"),
            found.dropped > 0,
        ),
        (
            Problem(gettext("%(count)s letters could not be sent") % {"count": found.waiting["unsent"]}, "#queue"),
            found.waiting["unsent"] > 0,
        ),
        *(
            (
                Problem(gettext("The run %(name)s failed") % {"name": run.name}, reverse("office_run", args=[run.id])),
                True,
            )
            for run in found.runs[:3]
            if run.failed
        ),
    ]
