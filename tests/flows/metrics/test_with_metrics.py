"""`visionloop up --with-metrics` where there is no Prometheus, and the file in which Prometheus finds processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import cli
from flows.metrics import prometheus, targets
from flows.process import ProcessSpec
from flows.stack.control import Stack
from registry.core.errors import MissingService
from registry.core.settings import Settings
from tests.flows.stack.servers import start_server

SERVICE = "object_detection-7-0a1b2c3d"


def test_where_it_is_not_installed_up_says_how_to_install_it_and_the_stack_is_up(
    running_stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(cli, ["up", "--only", "home", "--with-metrics"])
    assert done.exit_code == 0, done.output
    assert "without metrics: Prometheus is not installed" in done.output
    assert "apt-get install" in done.output
    assert [one.name for one in running_stack.status() if one.name == "prometheus"] == []
    with pytest.raises(MissingService, match="not installed"):
        prometheus.prepare(running_stack.config)


def _targets(config: Settings) -> dict[str, tuple[str, str]]:
    """Instance -> job and address."""
    found: list[dict[str, Any]] = json.loads(targets.file(config).read_text())
    return {one["labels"]["instance"]: (one["labels"]["job"], *one["targets"]) for one in found}


def test_prometheus_finds_what_comes_and_what_goes(running_stack: Stack) -> None:
    config = running_stack.config
    home = ("supervisor", f"127.0.0.1:{config.home_port}")
    assert _targets(config) == {"home": home}
    _, address = start_server(running_stack, SERVICE)
    start_server(running_stack, "something-else")  # it has no metrics
    assert _targets(config) == {"home": home, SERVICE: ("service", address.removeprefix("http://").rstrip("/"))}
    running_stack.stop(SERVICE)
    running_stack.stop("something-else")
    assert _targets(config) == {"home": home}


@pytest.mark.parametrize(("host", "found"), [("0.0.0.0", "127.0.0.1:3000"), ("192.0.2.7", "192.0.2.7:3000")])
def test_a_server_that_listens_everywhere_is_asked_here(config: Settings, host: str, found: str) -> None:
    targets.write(config, [ProcessSpec("router", ("-",), ready_url=f"http://{host}:3000/healthz")])
    assert _targets(config)["router"] == ("router", found)
    targets.clear(config)
    assert _targets(config) == {}
