"""A real Prometheus and a real Alertmanager with a stack that runs: a router, the web application, keeper, guard, and a
packaged model that answers. Grafana itself is not run: its panels' queries are asked of this Prometheus.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from flows.cli import cli
from flows.metrics import prometheus, targets
from serving.releases import endpoints, store
from serving.releases.deploy import free_port
from tests.benchmarks.web_site import MODEL, Site, running_site
from tests.conftest import PROJECT
from tests.flows.stack.servers import of
from tests.waiting import until

pytestmark = [pytest.mark.scale, pytest.mark.timeout(900)]
DASHBOARDS = sorted((PROJECT / "infra" / "grafana" / "dashboards").glob("*.json"))
VARIABLES = {'"$model"': '".*"', "$price": "0.05"}
SLOW_S = 300.0
"""Everything here waits for scrapes every 15 s, on a machine that others use, too."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for program in ("prometheus", "promtool", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            pytest.skip(f"NOT TESTED: {program}; Debian has the packages prometheus and prometheus-alertmanager")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_WATTS_PER_CORE", "10")
        with running_site(tmp_path_factory.mktemp("site"), 0) as found:
            _something_to_tell(found)
            yield found


@pytest.fixture(scope="module")
def address(site: Site) -> str:
    """Prometheus' address, as `visionloop up` prints it."""
    done = CliRunner().invoke(cli, ["up", "--only", "home", "--with-metrics"])
    assert done.exit_code == 0, done.output
    where = prometheus.address(site.config)
    assert where in done.output
    return where


def _something_to_tell(site: Site) -> None:
    """A verdict, labels and a decision, as the loop leaves them; and a shadow, which the same service plays."""
    from monitoring.log.models import Feedback, Prediction, Verdict

    now = datetime.now(UTC)
    made = [
        Prediction.objects.create(
            id=uuid.uuid4().hex, time=now, model=MODEL, version=1, role="live", latency_ms=9, outcome="ok", status=200
        )
        for _ in range(2)
    ]
    Feedback.objects.create(prediction=made[0], time=now, score=0.5)
    tests = [{"kind": "data", "statistic": 0.6, "threshold": 0.4, "p": 0.001, "level": 0.01}]
    Verdict.objects.create(
        id=uuid.uuid4().hex, time=now - timedelta(minutes=1), model=MODEL, version=1, predictions=2, labels=1,
        drifted=True, action="label", why="too dark", responsible=[one.id for one in made],
        finding={"distributions": {"tests": tests}},
    )  # fmt: skip
    live = endpoints.announced(MODEL)[MODEL, 1]
    endpoints.announce(MODEL, 2, live.url, live.tag, anyway="a test")
    store.change(MODEL, "shadow", why="a test", kind="shadow", second=2)
    folder = site.config.var / "decisions" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.html").write_text("<p>granted</p>")
    (folder / "one.json").write_text(json.dumps({"granted": True, "challenger": 1}))


@contextmanager
def _traffic(site: Site) -> Iterator[None]:
    """Predictions, pages and a wrong address, until the block ends."""
    ended = threading.Event()
    predict = f"{site.config.router_address}/v1/models/{MODEL}/predict"

    def go() -> None:
        with httpx.Client(timeout=60) as client:
            while not ended.wait(0.5):
                for url in (f"{site.address}/", f"{site.address}/nowhere"):
                    client.get(url)
                client.post(predict, files={"file": ("a.jpg", site.picture)})

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _ask(address: str, query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{address}/api/v1/query", params={"query": query}, timeout=30).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return list(answer["data"]["result"])


def _states(address: str) -> dict[tuple[str, str], str]:
    """(job, instance) -> health of each target."""
    found = httpx.get(f"{address}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]
    return {(one["labels"]["job"], one["labels"]["instance"]): one["health"] for one in found}


def test_all_targets_are_up_and_status_shows_prometheus(site: Site, address: str) -> None:
    assert of(site.stack, "prometheus").ready
    found = until(
        lambda: states if set((states := _states(address)).values()) == {"up"} and len(states) == 5 else None, SLOW_S, 1
    )
    assert {job for job, _ in found} == {"supervisor", "router", "web", "service", "prometheus"}
    until(lambda: _ask(address, "visionloop_process_up"), SLOW_S, 1)
    up = {one["metric"]["process"]: one["value"][1] for one in _ask(address, "visionloop_process_up")}
    assert {name: up[name] for name in ("home", "router", "web", "keeper", "guard", "prometheus")} == dict.fromkeys(
        ("home", "router", "web", "keeper", "guard", "prometheus"), "1"
    )
    rules = httpx.get(f"{address}/api/v1/rules", timeout=30).json()["data"]["groups"]
    assert {group["name"] for group in rules} == {"figures", "processes", "services", "predictions"}


def test_promtool_finds_nothing_in_the_metrics(site: Site, address: str) -> None:
    for target in json.loads(targets.file(site.config).read_text()):
        if target["labels"]["job"] != "prometheus":
            text = httpx.get(f"http://{target['targets'][0]}/metrics", timeout=30).text
            done = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, f"{target['labels']}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_of_grafana_has_data(site: Site, address: str, path: Path) -> None:
    queries = [t["expr"] for panel in json.loads(path.read_text())["panels"] for t in panel["targets"]]
    for name, value in VARIABLES.items():
        queries = [query.replace(name, value) for query in queries]
    with _traffic(site):
        for query in queries:
            until(partial(_has_number, address, query), SLOW_S, 2)


def _has_number(address: str, query: str) -> bool:
    return any(one["value"][1] != "NaN" for one in _ask(address, query))


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a webhook, and the alerts it got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()


@contextmanager
def _alertmanager(folder: Path, receiver: str) -> Iterator[str]:
    text = (PROJECT / "infra" / "prometheus" / "alertmanager.yml").read_text()
    assert "http://127.0.0.1:9099/" in text
    (folder / "alertmanager.yml").write_text(text.replace("http://127.0.0.1:9099/", receiver))
    where = f"127.0.0.1:{free_port()}"
    argv = ["prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", f"--web.listen-address={where}"]
    argv += [f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
    with (folder / "alertmanager.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            ready = f"http://{where}/-/ready"
            until(lambda: httpx.get(ready, timeout=5).is_success, 120, 0.2, (httpx.HTTPError,))
            yield where
        finally:
            process.terminate()


def test_a_killed_service_is_told_to_people(
    site: Site, address: str, receiver: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    (name,) = [one.name for one in site.stack.status() if one.name.startswith(f"{MODEL}-1-")]
    until(lambda: _ask(address, f'visionloop_process_restarts_total{{process="{name}"}}'), SLOW_S, 1)
    with _alertmanager(tmp_path, receiver[0]) as where:
        file = targets.folder(site.config) / prometheus.ALERTMANAGERS
        file.write_text(json.dumps([{"targets": [where]}]))
        os.kill(of(site.stack, name).pid, signal.SIGKILL)
        began = time.monotonic()
        alert = until(
            lambda: next((one for one in receiver[1] if one["labels"]["alertname"] == "ProcessDied"), None), SLOW_S, 0.5
        )
        print(f"told {time.monotonic() - began:.0f} s after the kill")
        assert alert["labels"]["process"] == name
        assert alert["labels"]["model"] == MODEL
        assert alert["annotations"]["summary"] == f"{name} died and was started again."
        assert f"visionloop logs {name}" in alert["annotations"]["fix"]
        assert alert["status"] == "firing"
        file.write_text("[]")
    until(lambda: of(site.stack, name).ready, SLOW_S, 0.5)


def test_down_ends_prometheus_and_the_next_up_has_its_figures_again(site: Site, address: str) -> None:
    pid = of(site.stack, "prometheus").pid
    site.stack.stop("prometheus")
    assert not any(one.name == "prometheus" for one in site.stack.status())
    assert "prometheus" not in {one["labels"]["job"] for one in json.loads(targets.file(site.config).read_text())}
    done = CliRunner().invoke(cli, ["up", "--only", "home", "--with-metrics"])
    assert done.exit_code == 0, done.output
    assert of(site.stack, "prometheus").pid not in (0, pid)
    assert until(lambda: _ask(address, "count_over_time(visionloop_process_up[1h])"), SLOW_S, 1)
