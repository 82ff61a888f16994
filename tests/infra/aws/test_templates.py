"""The templates that infra/aws writes, offline, for both sizes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.contract import catalog
from registry.core.database import database_entry
from registry.core.settings import read_settings
from tests.infra.aws import rules
from tests.infra.aws.synth import ENVIRONMENT, MISSING, PYTHON, run_app, templates

pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING),
]
SIZES = ("small", "large")
Stacks = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture(params=SIZES)
def stacks(request: pytest.FixtureRequest, folder: Path) -> Stacks:
    """Writing them is also cdk-nag's check: a finding that is not acknowledged ends the program."""
    return templates(request.param, folder)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_templates_keep_the_rules(stacks: Stacks, rule: rules.Rule) -> None:
    for template in stacks.values():
        assert rule(template) == []


def test_cfn_lint_finds_nothing(stacks: Stacks, tmp_path: Path) -> None:
    """Without W3005: the CDK names dependencies that others imply."""
    for name, template in stacks.items():
        done = _lint(tmp_path / f"{name}.json", template)
        assert done.returncode == 0, done.stdout


def test_cfn_lint_finds_a_mistake(folder: Path, tmp_path: Path) -> None:
    template = json.loads(json.dumps(templates("small", folder)["visionloop-data"]))
    name, _ = next(rules.of_type(template, "AWS::RDS::DBInstance"))
    template["Resources"][name]["Properties"]["StorageEncryptedd"] = True
    done = _lint(tmp_path / "broken.json", template)
    assert done.returncode != 0
    assert "StorageEncryptedd" in done.stdout


def _lint(path: Path, template: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    path.write_text(json.dumps(template))
    command = [str(ENVIRONMENT / "bin" / "cfn-lint"), "--ignore-checks", "W3005", "--", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_another_region_is_refused(tmp_path: Path) -> None:
    done = run_app(tmp_path, region="us-east-1")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-3:] == [
        "the region is us-east-1",
        *[line for line in done.stderr.splitlines() if line.startswith(("  expected: ", "  fix: "))],
    ]
    assert not list(tmp_path.glob("*.json"))


def _containers(stacks: Stacks) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for _, task in rules.of_type(stacks["visionloop-run"], "AWS::ECS::TaskDefinition"):
        yield from ((task["Family"], one) for one in task["ContainerDefinitions"])


def _plain(value: Any) -> str:
    """Text of a value: what CloudFormation fills in becomes a name that fits there."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return value["Fn::Join"][0].join(map(_plain, value["Fn::Join"][1]))
    return "filled-in.example.com"


def test_visionloop_accepts_what_its_containers_are_told(stacks: Stacks, tmp_path: Path) -> None:
    told = 0
    for _, one in _containers(stacks):
        variables = {each["Name"]: _plain(each["Value"]) for each in one.get("Environment", [])}
        if "VISIONLOOP_VAR" in variables:
            told += 1
            found = read_settings({**variables, "VISIONLOOP_VAR": str(tmp_path)}, tmp_path)
            assert found.keys_required
            assert found.web_url.startswith("https://")
            assert found.remote.startswith("s3://")
            entry = database_entry(found.database)
            assert entry["NAME"] == entry["USER"] == "visionloop"
            assert entry["PASSWORD"] == ""
            hidden = {each["Name"] for each in one["Secrets"]}
            assert hidden == {"PGPASSWORD", "VISIONLOOP_ENCRYPTION_KEY"}
    assert told == 2 * len(catalog.names()) + 4  # the slots; router, web and its router, operations


def test_what_containers_run_exists(stacks: Stacks) -> None:
    modules = {one["Command"][2] for _, one in _containers(stacks) if one.get("Command", [])[1:2] == ["-m"]}
    assert modules == {
        "serving.launchers.router", "serving.launchers.web", "flows.stack.mlflow_server", "flows.stack.supervisor",
        "prefect",
    }  # fmt: skip
    assert all(importlib.util.find_spec(name) for name in modules)
    for _, one in _containers(stacks):
        if one.get("Command", [])[:2] == ["python", "-c"]:
            compile(one["Command"][2], "command", "exec")


def test_mlflow_answers_to_the_name_that_others_use(stacks: Stacks) -> None:
    (mlflow,) = (
        one for family, one in _containers(stacks) if family == "visionloop-mlflow" and one["Name"] == "mlflow"
    )
    variables = {one["Name"]: _plain(one["Value"]) for one in mlflow["Environment"]}
    assert "mlflow.visionloop.internal:5000" in variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


def test_each_slot_grows_by_processors_and_requests(stacks: Stacks) -> None:
    run = stacks["visionloop-run"]
    kinds = [
        policy["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]
        for _, policy in rules.of_type(run, "AWS::ApplicationAutoScaling::ScalingPolicy")
    ]
    slots = 2 * len(catalog.names())
    assert kinds.count("ALBRequestCountPerTarget") == slots
    assert kinds.count("ECSServiceAverageCPUUtilization") == slots + 2


def test_an_empty_slot_has_no_task(stacks: Stacks) -> None:
    run = stacks["visionloop-run"]
    slots = [one for _, one in rules.of_type(run, "AWS::ECS::Service") if one["ServiceName"][-2:] in ("-a", "-b")]
    assert len(slots) == 2 * len(catalog.names())
    for one in slots:
        condition, least, otherwise = one["DesiredCount"]["Fn::If"]
        assert (least >= 1, otherwise) == (True, 0)
        tag = run["Conditions"][condition]["Fn::Not"][0]["Fn::Equals"][0]["Ref"]
        assert run["Parameters"][tag]["Default"] == "none"


def test_router_and_web_are_replaced_by_blue_green_and_the_guard_is_alone(stacks: Stacks) -> None:
    run = stacks["visionloop-run"]
    services = {one["ServiceName"]: one for _, one in rules.of_type(run, "AWS::ECS::Service")}
    for name in ("router", "web"):
        how = services[name]["DeploymentConfiguration"]
        assert how["Strategy"] == "BLUE_GREEN"
        assert (how["Alarms"]["Enable"], how["Alarms"]["Rollback"]) == (True, True)
        (alarm,) = how["Alarms"]["AlarmNames"]
        assert run["Resources"][alarm["Ref"]]["Properties"]["AlarmName"] == f"visionloop-{name}-errors"
        (target,) = services[name]["LoadBalancers"]
        assert {"AlternateTargetGroupArn", "ProductionListenerRule", "RoleArn"} <= set(target["AdvancedConfiguration"])
    how = services["operations"]["DeploymentConfiguration"]
    assert (how["MinimumHealthyPercent"], how["MaximumPercent"]) == (0, 100)
    assert services["operations"]["DesiredCount"] == 1


def test_the_firewall_stands_before_the_load_balancer_and_lets_pictures_in(stacks: Stacks) -> None:
    run = stacks["visionloop-run"]
    (wall,) = (one for _, one in rules.of_type(run, "AWS::WAFv2::WebACL"))
    common = next(one for one in wall["Rules"] if "Common" in one["Name"])
    group = common["Statement"]["ManagedRuleGroupStatement"]
    counted = {one["Name"] for one in group["RuleActionOverrides"] if "Count" in one["ActionToUse"]}
    assert "SizeRestrictions_BODY" in counted
    assert len(list(rules.of_type(run, "AWS::WAFv2::WebACLAssociation"))) == 1


def test_alarms_and_budget_reach_somebody(stacks: Stacks) -> None:
    run = stacks["visionloop-run"]
    alarms = list(rules.of_type(run, "AWS::CloudWatch::Alarm"))
    assert len(alarms) == 2 * len(catalog.names()) + 8
    assert all(one["AlarmActions"] for _, one in alarms)
    ((_, letters),) = rules.of_type(run, "AWS::SNS::Subscription")
    assert letters["Endpoint"] == {"Ref": "AlarmAddress"}
    ((_, budget),) = rules.of_type(run, "AWS::Budgets::Budget")
    assert len(budget["NotificationsWithSubscribers"]) == 2
