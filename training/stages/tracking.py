"""Sends metrics to MLflow without slowing training: a thread imports it, opens the run and sends one batch an epoch.

A training goes on when MLflow is away. Rows wait and are sent when it answers again; at the end `close` retries a few
times before it raises MissingService. By then everything is in build/<model>/train, so the next run of the stage only
sends.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from registry.core import journal
from registry.core.errors import MissingService, first_line
from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions import mlflow_client
from registry.versions.bundle import RUN_DIGEST
from training.stages.runs import RunDescription

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN = "run.json"
SECONDS = "epoch_seconds"  # every row has it
RETRY_S = 5.0
LAST_TRIES = 3
KNOCK_S = 3.0
SYSTEM_METRICS_EVERY_S = 5

# Otherwise the client would wait for minutes on a server that is away.
CLIENT_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


class Tracker:
    """One MLflow run. `folder`/run.json names it, so that a resumed stage logs to the same run.

    Args:
        completes: the run belongs to a version. It is the training's run if no other version has that and the
            parameters are the same; else it is a new one. run.json does not change.
    """

    def __init__(self, folder: Path, about: RunDescription, address: str, *, completes: bool = False) -> None:
        self.folder, self.about, self.address = folder, about, address
        self.completes = completes
        self.run_id = ""
        self._rows: list[tuple[str, dict[str, float]]] = []
        self._sent = 0
        self._known: dict[str, int] = {}  # prefix -> last epoch that the run has
        self._warned = False
        self._client: MlflowClient | None = None
        self._active_in = 0  # thread
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self) -> None:
        """Opens the run in the background."""
        self._wake.set()
        self._thread.start()

    def row(self, values: dict[str, float], prefix: str = "") -> None:
        """Queues one epoch's metrics; never waits. `values` holds `epoch`."""
        self._rows.append((prefix, values))
        self._wake.set()

    @property
    def has_rows(self) -> bool:
        return bool(self._rows)

    def close(self, finish: Callable[[MlflowClient, str], None] | None = None) -> str:
        """Sends the rows that are left, calls `finish(client, run_id)` to log the rest, and returns the run's id.

        Raises:
            MissingService: MLflow did not answer.
        """
        self._stop.set()
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
        for left in reversed(range(LAST_TRIES)):
            try:
                client = self._send()
                if finish is not None:
                    finish(client, self.run_id)
                self._end("FINISHED")
                return self.run_id
            except Exception as error:  # MLflow's, requests', sqlalchemy's: all mean that it is not there
                if left:
                    time.sleep(1)
                    continue
                raise MissingService(
                    f"MLflow at {self.address} did not take the run: {first_line(error)[:200]}",
                    expected="a tracking server, or a database",
                    fix="`visionloop up` starts it; the same command then goes on from here: nothing is lost",
                ) from error
        raise AssertionError("unreachable")

    def abandon(self, status: str) -> None:
        """After a failure: stops the thread and sets the status of the run, if MLflow answers at once."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident:
            self._thread.join(timeout=RETRY_S)
        with suppress(Exception):
            self._end(status)

    def _end(self, status: str) -> None:
        self._let_go()
        if self._client is not None and self.run_id:
            self._client.set_terminated(self.run_id, status)

    def _let_go(self) -> None:
        """Ends MLflow's active run, if it is this thread's, and with it the system metrics."""
        if self._active_in == threading.get_ident():
            import mlflow

            mlflow.end_run()
            self._active_in = 0

    def _work(self) -> None:
        try:
            self._send_when_woken()
        finally:
            with suppress(Exception):  # MLflow is away; `close` says so
                self._let_go()

    def _send_when_woken(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._send()
            except Exception as error:
                if not self._warned:
                    self._warned = True
                    why = first_line(error)[:200]
                    text = f"MLflow at {self.address} does not answer ({why}); training goes on, metrics are sent later"
                    print(text, file=sys.stderr)
                    journal.fact("train", text, self.about.model)
                if self._stop.wait(RETRY_S):
                    return
                self._wake.set()

    def _send(self) -> MlflowClient:
        with self._lock:
            knock(self.address)
            if self._client is None:
                self._client = open_client(self.address)
            if not self.run_id:
                self.run_id = self._open(self._client)
            while self._sent < len(self._rows):
                prefix, values = self._rows[self._sent]
                if int(values["epoch"]) > self._known.get(prefix, 0):
                    _log_row(self._client, self.run_id, prefix, values)
                self._sent += 1
            return self._client

    def _open(self, client: MlflowClient) -> str:
        """The run in run.json if MLflow still has it and it fits; else a new one."""
        known = read_run(self.folder)
        if known:
            with suppress(Exception):
                run = client.get_run(known)
                if self._fits(run):
                    client.update_run(known, status="RUNNING")
                    self._read_known(client, known, run.data.metrics)
                    _log_params(client, known, self.about.params, set(run.data.params))
                    self._activate(known)
                    return known
        experiment = mlflow_client.experiment_id(client, self.about.model, self.address, settings().artifact_store)
        tags = {
            "model": self.about.model,
            "data_hash": self.about.data_hash,
            "git_commit": self.about.git_commit,
            "mlflow.source.git.commit": self.about.git_commit.removesuffix("-dirty"),
            **self.about.tags,
        }
        run_id = str(client.create_run(experiment, tags=tags, run_name=self.about.name).info.run_id)
        _log_params(client, run_id, self.about.params, set())
        self._activate(run_id)
        _log_input(self.about)
        if not self.completes:
            write_file(self.folder / RUN, json.dumps({"run_id": run_id}) + "\n")
        return run_id

    def _fits(self, run: Run) -> bool:
        """Whether a version may use this run: MLflow cannot change the parameters of a run."""
        wanted = {name: str(value) for name, value in self.about.params.items()}
        same = all(wanted.get(name, value) == value for name, value in run.data.params.items())
        return not self.completes or (same and RUN_DIGEST not in run.data.tags)

    def _read_known(self, client: MlflowClient, run_id: str, metrics: dict[str, float]) -> None:
        """Reads up to which epoch the run has rows, so that none is sent twice."""
        for key in (key for key in metrics if key.endswith(SECONDS)):
            last = max(point.step for point in client.get_metric_history(run_id, key))
            self._known[key.removesuffix(SECONDS)] = int(last)

    def _activate(self, run_id: str) -> None:
        """Makes it MLflow's active run in this thread, with system metrics."""
        import mlflow

        with suppress(Exception):  # of an attempt that failed half-way
            self._let_go()
        mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_EVERY_S)
        mlflow.start_run(run_id=run_id, log_system_metrics=not self.completes)
        self._active_in = threading.get_ident()


def knock(address: str) -> None:
    """Raises OSError at once if nothing listens at an http address. MLflow's client would try for half a minute."""
    parts = urlsplit(address)
    behind_proxy = parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")
    if parts.scheme in ("http", "https") and parts.hostname and not behind_proxy:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), timeout=KNOCK_S).close()


def open_client(address: str) -> MlflowClient:
    """A client that gives up soon."""
    for key, value in CLIENT_TIMEOUTS.items():
        os.environ.setdefault(key, value)
    return mlflow_client.open_client(address)


def read_run(folder: Path) -> str:
    """The run's id in `folder`/run.json, else ''."""
    try:
        return str(json.loads((folder / RUN).read_text(encoding="utf-8"))["run_id"])
    except (OSError, json.JSONDecodeError, KeyError):
        return ""


def _log_row(client: MlflowClient, run_id: str, prefix: str, values: dict[str, float]) -> None:
    from mlflow.entities import Metric

    now, step = int(time.time() * 1000), int(values["epoch"])
    metrics = [Metric(f"{prefix}{k}", v, now, step) for k, v in values.items() if k not in ("epoch", "step")]
    client.log_batch(run_id, metrics=metrics)


def _log_params(client: MlflowClient, run_id: str, params: dict[str, Any], known: set[str]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(k, str(v)) for k, v in params.items() if k not in known])


def _log_input(about: RunDescription) -> None:
    """The data set, as an input of the active run."""
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource

    # DVC's folder hash has 36 characters, just what MLflow allows of a digest.
    dataset = MetaDataset(LocalArtifactDatasetSource(str(about.data)), name=about.model, digest=about.data_hash[:36])
    mlflow.log_input(dataset, context="training", tags={"dvc": about.data_hash})
