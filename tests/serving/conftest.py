"""A project folder with two packaged versions, real services on free ports, and a real router in front of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.contract import catalog
from registry.core.errors import MissingService
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from serving.releases import deploy, endpoints, packaging, store
from serving.releases.packaging import process_name
from tests.browsers import Visitor, chromium
from tests.bundles import MODEL, make_tiny_bundle
from tests.conftest import PROJECT
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.serving import people
from tests.serving.controlled import Numbered
from tests.serving.people import Person
from tests.serving.removal import retire, withdraw
from tests.waiting import until

READY_S = 120
DETECTOR = "object_detection"


@dataclass
class Running:
    """A process under test."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


class Processes:
    """Starts and stops real processes: what the supervisor does, without restarting.

    What is stopped and has a name that begins with one of `kept` goes on out of sight, for the next start of that name:
    a real start of a service takes three seconds of a processor.
    """

    def __init__(self, logs: Path, kept: tuple[str, ...] = ()) -> None:
        self._kept = kept
        self.running: dict[str, Running] = {}
        self._stopped: dict[str, Running] = {}
        self._logs = logs

    def start(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], ready_url: str, restart: bool = True
    ) -> Running:
        if (stopped := self._stopped.pop(name, None)) is not None:
            if _answers(f"{stopped.url}/readyz"):
                self.running[name] = stopped
                return stopped
            _end(stopped)
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(argv, env=dict(env), stdout=out, stderr=out, cwd=settings().root)
        self.running[name] = Running(process, ready_url.rpartition("/")[0], log)

        with suppress(AssertionError):
            until(lambda: process.poll() is not None or _answers(ready_url), READY_S, 0.05)
            if process.poll() is None:
                return self.running[name]
        self.stop(name)
        raise MissingService(f"{name} did not become ready: {log.read_text(errors='replace')[-500:]}")

    def services(self) -> dict[str, Running]:
        return {name: one for name, one in self.running.items() if one.process.poll() is None}

    def stop(self, name: str) -> None:
        one = self.running.pop(name, None)
        if one is not None and name.startswith(self._kept) and name not in self._stopped:
            self._stopped[name] = one
        elif one is not None:
            _end(one)

    def stop_all(self) -> None:
        for one in (*self.running.values(), *self._stopped.values()):
            _end(one)
        self.running.clear()
        self._stopped.clear()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def _end(one: Running) -> None:
    if one.process.poll() is None:
        one.process.terminate()
        try:
            one.process.wait(35)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


@dataclass(frozen=True)
class Packaged:
    version: Numbered
    bundle: Bundle
    tag: str


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project folder of its own for this package's tests, with a migrated database."""
    root = tmp_path_factory.mktemp("serving-project")
    (root / "dvc.yaml").write_text("stages: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("VISIONLOOP_")]:
            patch.delenv(name)
        patch.setenv("VISIONLOOP_ROOT", str(root))
        patch.setenv("VISIONLOOP_VAR", str(root / "var"))
        patch.setenv("VISIONLOOP_MAX_UPLOAD_MB", "64")
        patch.setenv("VISIONLOOP_ROUTER_PORT", str(deploy.free_port()))
        for server in ("WEB", "HOME", "PREFECT", "MLFLOW"):
            patch.setenv(f"VISIONLOOP_{server}_PORT", str(deploy.free_port()))
        settings.cache_clear()
        with own_database(root / "var" / "visionloop.db"):
            yield root
    settings.cache_clear()


@pytest.fixture(scope="package")
def packaged(project: Path) -> dict[int, Packaged]:
    """Versions 1 and 2 as Bentos. The network of version 2 takes about 20 ms, so that requests are caught at work."""
    made = {}
    for number, work in ((1, 0), (2, 8)):
        bundle = make_tiny_bundle(project / f"bundle-{number}", f"version {number}", work=work)
        version = Numbered(MODEL, number)
        made[number] = Packaged(version, bundle, packaging.package(version, bundle))
    return made


@pytest.fixture(scope="package")
def processes(project: Path) -> Iterator[Processes]:
    started = Processes(project / "var" / "logs", kept=(f"{MODEL}-",))
    yield started
    started.stop_all()


@pytest.fixture(scope="package")
def service(packaged: dict[int, Packaged], processes: Processes) -> Running:
    """Version 1, ready, answering on its own port."""
    port = deploy.free_port()
    argv, env = packaging.serve_command(packaged[1].tag, port), packaging.serve_environment()
    return processes.start("service-under-test", argv, env, f"http://127.0.0.1:{port}/readyz")


@pytest.fixture(scope="package")
def router(project: Path, processes: Processes) -> str:
    """The router's address."""
    address = settings().router_address
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    processes.start("router", [sys.executable, "-m", "serving.launchers.router"], env, f"{address}/healthz")
    return address


@pytest.fixture(scope="package")
def web(project: Path, processes: Processes) -> str:
    """The web application's address."""
    address = settings().web_address
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    processes.start("web", [sys.executable, "-m", "serving.launchers.web"], env, f"{address}/healthz")
    return address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of a file. Playwright's event loop runs in this thread as long as it is open, so that
    nothing else in it may run one."""
    with chromium() as running:
        yield running


@pytest.fixture
def visitor(browser: Any, web: str) -> Iterator[Visitor]:
    """A person without an account. In the end nothing may have gone wrong in the browser."""
    person = Visitor(browser, web)
    yield person
    person.close()
    assert person.faults == []


@pytest.fixture(scope="package")
def detector(project: Path, router: str, processes: Processes) -> str:
    """The name of a detector with a live version."""
    bundle = make_detector_bundle(project / "bundle-detector", catalog.get(DETECTOR), work=4)
    tag, port = packaging.package(Numbered(DETECTOR, 1), bundle), deploy.free_port()
    argv, env = deploy.service_command(tag, port), packaging.serve_environment()
    service = processes.start(process_name(tag), argv, env, f"http://127.0.0.1:{port}/readyz")
    endpoints.announce(DETECTOR, 1, service.url, tag, anyway="a test")
    deploy.follow(store.switch(DETECTOR, 1), router)
    return DETECTOR


@pytest.fixture(scope="package")
def persons(web: str) -> list[Person]:
    """Four people with accounts, who are logged in."""
    return people.make(*(f"{name}@example.org" for name in ("anna", "bert", "carla", "dora")))


@pytest.fixture
def live(router: str, packaged: dict[int, Packaged], processes: Processes) -> Iterator[str]:
    """The router with version 1 live; in the end nothing is released, and no version's service runs."""
    tag, port = packaged[1].tag, deploy.free_port()
    argv, env = deploy.service_command(tag, port), packaging.serve_environment()
    service = processes.start(process_name(tag), argv, env, f"http://127.0.0.1:{port}/readyz")
    for _, number in endpoints.announced(MODEL):
        retire(MODEL, number)  # those of other tests' own processes
    endpoints.announce(MODEL, 1, service.url, tag, anyway="a test")
    deploy.follow(store.switch(MODEL, 1), router)
    yield router
    retire_all(processes)
    withdraw(MODEL)
    until(lambda: MODEL not in httpx.get(f"{router}/-/routes", timeout=30).json()["routes"])


def retire_all(processes: Processes) -> None:
    """No version of the model has an address any more, and no service of one runs."""
    for (_, number), endpoint in endpoints.announced(MODEL).items():
        retire(MODEL, number)
        processes.stop(process_name(endpoint.tag))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The `var` of a project folder of a test's own, with a database."""
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    with own_database(tmp_path / "var" / "visionloop.db"):
        yield tmp_path / "var"
    settings.cache_clear()
