"""Prometheus as a process of the stack. Its configuration and rules are those of infra/prometheus."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.metrics import targets
from flows.process import ProcessSpec
from registry.core.errors import MissingService, SettingsError
from registry.core.files import disk_errors
from registry.core.settings import Settings

HERE = Path(__file__).resolve().parents[2] / "infra" / "prometheus"
FILES = ("prometheus.yml", "rules.yml")
ALERTMANAGERS = "alertmanagers.json"
KEPT_DAYS, KEPT_GB = 30, 2


def address(settings: Settings) -> str:
    """Prometheus asks nobody who they are, so it listens for this machine only."""
    return f"http://127.0.0.1:{settings.prometheus_port}"


def prepare(settings: Settings) -> ProcessSpec:
    """Lays the configuration into `var/prometheus`, beside the file of targets. Returns how to start Prometheus.

    Raises:
        MissingService: Prometheus is not installed.
        SettingsError: infra/prometheus is not beside the code.
        StorageError: `var` cannot be written.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise MissingService(
            "Prometheus is not installed",
            expected="the program `prometheus`",
            fix="Debian: `apt-get install --no-install-recommends prometheus`; macOS: `brew install prometheus`",
        )
    if not all((HERE / name).is_file() for name in FILES):
        raise SettingsError(
            f"{HERE} has no {' or '.join(FILES)}", expected="a checkout of visionloop", fix="run it from the checkout"
        )
    folder = targets.folder(settings)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(HERE / name, folder / name)
        if not (folder / ALERTMANAGERS).exists():
            (folder / ALERTMANAGERS).write_text("[]\n")  # docs/metrics.md says what people write there
    where = address(settings)
    argv = (
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={KEPT_DAYS}d",
        f"--storage.tsdb.retention.size={KEPT_GB}GB",
        f"--web.listen-address=127.0.0.1:{settings.prometheus_port}",
        "--log.level=warn",
    )
    return ProcessSpec(
        targets.PROMETHEUS, argv, ready_url=f"{where}/-/ready", url=where, port=settings.prometheus_port,
        setting="prometheus_port",
    )  # fmt: skip
