"""Where Prometheus finds the processes of the stack: a file that the supervisor writes whenever one comes or goes.

The format is that of file-based discovery (file_sd_config in Prometheus' documentation). A Prometheus of one's own can
read the file, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.process import ProcessSpec
from registry.core.errors import StorageError
from registry.core.files import write_file
from registry.core.settings import Settings

PROMETHEUS = "prometheus"
OWN_PORT = ("router", "web", PROMETHEUS)
"""Processes beside the services that have `/metrics` at their own port."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def folder(settings: Settings) -> Path:
    return settings.var / PROMETHEUS


def file(settings: Settings) -> Path:
    return folder(settings) / "targets.json"


def write(settings: Settings, specs: Iterable[ProcessSpec]) -> None:
    """Writes the file for these processes and the supervisor itself. On a full disk the old one stays."""
    found = [_target("supervisor", "home", settings.home_address)]
    for spec in specs:
        job = "service" if version_of(spec.name)[0] else spec.name if spec.name in OWN_PORT else ""
        if job and spec.ready_url:
            found.append(_target(job, spec.name, spec.ready_url))
    _write(settings, found)


def clear(settings: Settings) -> None:
    """Nothing runs any more."""
    _write(settings, [])


def _write(settings: Settings, targets: list[dict[str, Any]]) -> None:
    with suppress(StorageError, OSError):
        folder(settings).mkdir(parents=True, exist_ok=True)
        write_file(file(settings), json.dumps(targets, indent=1).encode())


def _target(job: str, name: str, url: str) -> dict[str, Any]:
    """`instance` is the process's name: a service's port is another one after each start."""
    where = urlsplit(url)
    host = EVERYWHERE.get(where.hostname or "", where.hostname)
    return {"targets": [f"{host}:{where.port}"], "labels": {"job": job, "instance": name}}


def version_of(name: str) -> tuple[str, str]:
    """The model and version that a process serves; its name is MODEL-NUMBER-HASH. Two "" for another process."""
    parts = name.rsplit("-", 2)
    return (parts[0], parts[1]) if len(parts) == 3 and parts[1].isdigit() else ("", "")
