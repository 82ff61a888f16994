"""What every test shares: a quiet environment, a project folder of its own, a real bundle made once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from monitoring.log.shipping import KEEPER
from registry.core.child_environment import OFFLINE_ENV
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from tests import dealing
from tests.bundles import MODEL, make_tiny_bundle
from tests.clusters import Cluster, running
from tests.databases import own_database

PROJECT = Path(__file__).resolve().parents[1]

# Before any framework is imported: nothing may call home, and no setting of the person's own may leak in.
os.environ.update(OFFLINE_ENV)
for name in [name for name in os.environ if name.startswith("VISIONLOOP_")]:
    del os.environ[name]
os.environ.pop(KEEPER, None)


with contextlib.suppress(ImportError):
    # torch's compiler and TensorFlow each bring an LLVM. TensorFlow first, and loading the other ends the process.
    import triton._C.libtriton  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of one package stay together, so that its services start once in each process and not once in each file."""
    items.sort(key=lambda item: dealing.place(item.path.relative_to(PROJECT / "tests")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return dealing.scheduler(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Where a command that ran in this process said that things are ends with its test."""
    places = ("PREFECT_HOME", "PREFECT_API_URL", "BENTOML_HOME", "MLFLOW_TRACKING_URI")
    before = {name: os.environ.get(name) for name in ("VISIONLOOP_ROOT", "VISIONLOOP_VAR", *places)}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:  # of a fixture that outlives the test
            os.environ[name] = value


@pytest.fixture(autouse=True, scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> None:
    """httpx reads 140 certificates for each client, and for each `httpx.get`: 30 ms in which nothing is tested."""
    ends = "-----END CERTIFICATE-----\n"
    all_of_them = (files("certifi") / "cacert.pem").read_text(encoding="utf-8")
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    file.write_text(all_of_them.partition(ends)[0] + ends, encoding="utf-8")
    os.environ.setdefault("SSL_CERT_FILE", str(file))


@pytest.fixture(autouse=True)
def own_logging() -> None:
    """Our loggers speak at the beginning of each test, whatever an earlier one, or a library in it, did to them.

    What is as it should be is left alone: each change goes through all loggers, some thousand of them.
    """
    if logging.root.manager.disable:
        logging.disable(logging.NOTSET)
    if logging.root.level != logging.WARNING:
        logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("visionloop") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            if logger.level != logging.NOTSET:
                logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed bundle whose network is an intensity threshold; read-only for tests."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """An operational database of the test's own; its file."""
    with own_database(tmp_path / "own.db") as path:
        yield path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL; who stops it, starts it again."""
    with running() as cluster:
        yield cluster


def make_workspace(root: Path, **smaller: dict[str, object]) -> Path:
    """A project folder as a fresh clone has it: DVC, stages, parameters, the code. All of it: what runs there finds the
    packages beside it first, and the rest elsewhere would be another state of the code.

    `smaller` lays other values over sections of the model's parameters, e.g. `train={"epochs": 1}`.
    """
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, root / name)
    ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in (".dvc", "registry", "training", "monitoring", "serving", "flows"):
        shutil.copytree(PROJECT / name, root / name, ignore=ignore)
    config = (PROJECT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = true")
    (root / ".dvc" / "config").write_text(config, encoding="utf-8")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["models"] = [MODEL]  # starter data of the others takes time
    for section, values in smaller.items():
        params[MODEL][section].update(values)
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return root


def free_ports() -> dict[str, str]:
    """Settings for a stack of one's own: ports that are free at this moment."""
    names = ("home_port", "router_port", "web_port", "mlflow_port", "prefect_port", "drift_port", "prometheus_port")
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    found = {f"VISIONLOOP_{n.upper()}": str(p.getsockname()[1]) for n, p in zip(names, probes, strict=True)}
    for probe in probes:
        probe.close()
    return found


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder of the test's own; MLflow without a server."""
    root = make_workspace(tmp_path / "project")
    monkeypatch.setenv("VISIONLOOP_ROOT", str(root))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.chdir(root)
    settings.cache_clear()
    yield root
    settings.cache_clear()
