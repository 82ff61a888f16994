"""The rules of Prometheus and the dashboards of Grafana, without a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

INFRA = PROJECT / "infra"
RULES = INFRA / "prometheus" / "rules.yml"
DASHBOARDS = sorted((INFRA / "grafana" / "dashboards").glob("*.json"))


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_says_what_to_do_is_tested_and_documented() -> None:
    tests = (INFRA / "prometheus" / "rules_test.yml").read_text()
    page = (PROJECT / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| (\w+) \|.*\| (critical|warning|info) \|$", page, re.MULTILINE))
    for alert in _alerts():
        assert alert["annotations"].keys() == {"summary", "fix"}, alert["alert"]
        assert re.search(rf"\b{alert['alert']}\b", tests), f"{alert['alert']} has no test"
    assert {alert["alert"]: alert["labels"]["severity"] for alert in _alerts()} == documented


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "test", "rules", "rules_test.yml"),
        ("promtool", "check", "config", "prometheus.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ],
    ids=" ".join,
)
def test_the_tools_of_prometheus_find_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"NOT TESTED: {command[0]}; install prometheus and prometheus-alertmanager")
    folder = shutil.copytree(INFRA / "prometheus", tmp_path / "prometheus")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_as_the_code_says() -> None:
    command = [sys.executable, "dashboards.py", "--check"]
    done = subprocess.run(command, cwd=INFRA / "grafana", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stderr}\nfix: python infra/grafana/dashboards.py"


def test_the_dashboards_can_be_provisioned() -> None:
    """As far as that goes without Grafana: one uid each, a data source to choose, no two panels in one place."""
    found = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert {path.stem for path in DASHBOARDS} == {"overview", "model", "release", "service", "training", "cost"}
    assert len({one["uid"] for one in found}) == len(found)
    for one in found:
        assert all(target["datasource"]["uid"] == "${datasource}" for p in one["panels"] for target in p["targets"])
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in one["panels"]]
        assert len(set(places)) == len(places) == len({p["id"] for p in one["panels"]})
        names = {variable["name"] for variable in one["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(one["panels"])))
        assert used - {"__all"} <= names
    for path in (INFRA / "grafana" / "provisioning").rglob("*.yml"):
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1
