"""Asks Prefect's server over HTTP: importing Prefect takes seconds and 100 MB."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from registry.core.errors import MissingService, NotFound
from registry.core.settings import settings

ANSWER_WITHIN_S = 2.0
CHANGED_WITHIN_S = 20.0
"""A person waits for this answer, and a training on all cores slows Prefect."""
OPEN = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
FLOWS = ("loop", "retrain", "release", "data-import")
"""Flows that the pages start or follow. The monitor's runs come every few minutes and would hide the others."""


@dataclass(frozen=True)
class Run:
    """A flow run. `step` and `percent` are of what it does now, "" and None where it has not said."""

    id: str
    name: str
    state: str
    kind: str
    began: datetime | None
    seconds: float
    message: str
    parameters: dict[str, Any]
    step: str = ""
    percent: float | None = None

    @property
    def open(self) -> bool:
        return self.kind in OPEN

    @property
    def failed(self) -> bool:
        return self.kind in ("FAILED", "CRASHED")


def runs(limit: int = 10, *, only_open: bool = False) -> list[Run]:
    """The latest runs that train, release or import, those that run with their progress. Raises MissingService."""
    chosen: dict[str, Any] = {"state": {"type": {"any_": list(OPEN)}}} if only_open else {}
    asked = {"limit": limit, "sort": "EXPECTED_START_TIME_DESC", "flow_runs": chosen, "flows": _flows()}
    found = _ask("POST", "/flow_runs/filter", asked)
    progress = _progress([one["id"] for one in found if one["state_type"] == "RUNNING"])
    return [_run(one, progress) for one in found]


def run(identity: str) -> Run:
    """One run. Raises NotFound, MissingService."""
    return _run(_ask("GET", f"/flow_runs/{identity}"), _progress([identity]))


def lines(identity: str, most: int = 200) -> list[dict[str, Any]]:
    """The latest lines of a run's log, the oldest first: timestamp and message. Raises MissingService."""
    asked = {"logs": {"flow_run_id": {"any_": [identity]}}, "sort": "TIMESTAMP_DESC", "limit": most}
    found = _ask("POST", "/logs/filter", asked)
    return [
        {"time": datetime.fromisoformat(one["timestamp"]), "level": one["level"], "text": one["message"]}
        for one in reversed(found)
    ]


def start(flow: str, deployment: str, name: str, parameters: dict[str, Any]) -> str:
    """Asks for a run of a deployment, which the worker takes up. Returns the run's id. `name`: of the run, for people.

    Raises:
        NotFound: the worker has not offered this deployment.
        MissingService: Prefect does not answer.
    """
    found = _ask("GET", f"/deployments/name/{flow}/{deployment}", within_s=CHANGED_WITHIN_S)
    made = _ask(
        "POST",
        f"/deployments/{found['id']}/create_flow_run",
        {"name": name, "parameters": parameters},
        CHANGED_WITHIN_S,
    )
    return str(made["id"])


def cancel(identity: str) -> None:
    """Asks the worker to end a run in order. Raises NotFound, MissingService."""
    _ask(
        "POST",
        f"/flow_runs/{identity}/set_state",
        {"state": {"type": "CANCELLING", "name": "Cancelling"}},
        CHANGED_WITHIN_S,
    )


def _flows() -> dict[str, Any]:
    return {"name": {"any_": list(FLOWS)}}


def _progress(identities: list[str]) -> dict[str, tuple[str, float]]:
    """Run -> what it does and how far that is, in percent, as the flow's artifacts say."""
    if not identities:
        return {}
    chosen = {"flow_run_id": {"any_": identities}, "type": {"any_": ["progress"]}}
    found = _ask("POST", "/artifacts/filter", {"artifacts": chosen, "sort": "UPDATED_DESC", "limit": 50})
    latest: dict[str, tuple[str, float]] = {}
    for one in found:
        latest.setdefault(one["flow_run_id"], (one["description"] or "", float(one["data"] or 0)))
    return latest


def _run(one: dict[str, Any], progress: dict[str, tuple[str, float]]) -> Run:
    began = one.get("start_time")
    step, percent = progress.get(one["id"], ("", None))
    return Run(
        id=one["id"],
        name=one["name"],
        state=one["state_name"] or "",
        kind=one["state_type"] or "",
        began=datetime.fromisoformat(began) if began else None,
        seconds=float(one.get("estimated_run_time") or one.get("total_run_time") or 0),
        message=str((one.get("state") or {}).get("message") or ""),
        parameters=one.get("parameters") or {},
        step=step,
        percent=percent,
    )


def _ask(method: str, path: str, body: Any = None, within_s: float = ANSWER_WITHIN_S) -> Any:
    address = settings().prefect_address.rstrip("/")
    try:
        answer = _patiently(method, f"{address}{path}", body, within_s)
        if answer.status_code == 404:
            raise NotFound(
                f"Prefect has nothing at {path}",
                expected="a run, or a deployment that the worker offers",
                fix="`visionloop status` says whether the process `flows` runs",
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise MissingService(
            "Prefect does not answer",
            expected=f"its server at {address}",
            fix="`visionloop status` says whether it runs",
        ) from error


def _patiently(method: str, address: str, body: Any, within_s: float) -> httpx.Response:
    """Asks again where a busy database makes Prefect answer 503, as its own client does."""
    end = time.monotonic() + within_s
    while True:
        answer = httpx.request(method, address, json=body, timeout=within_s, trust_env=False)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > end:
            return answer
        time.sleep(0.3)
