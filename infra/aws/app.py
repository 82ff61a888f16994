"""Writes the CloudFormation templates of visionloop: `python app.py`, or `cdk synth`, `cdk deploy`.

Two stacks: `visionloop-data` holds what must not be lost, `visionloop-run` what can be made again. Context: `size`
(small, large), `region`, `allow_regions`. Parameters at deployment: domain, certificate, address, image tags.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from acknowledged import acknowledge
from aws_cdk import App, Aws, CfnParameter, CfnRule, CfnRuleAssertion, Environment, Fn, Stack, Tags, Validations
from aws_cdk.aws_kms import Key
from cdk_nag import AwsSolutionsChecks
from database import Database
from edge import Edge
from firewall import firewall
from network import Network
from options import Options
from services import Services
from spark import spark
from storage import Storage, make_key
from tasks import Tasks
from tracking import mlflow, operations, prefect
from watching import Watching

HERE = Path(__file__).resolve().parent


class Data(Stack):
    """The network, the key, buckets, images, the shared folder and PostgreSQL."""

    def __init__(self, app: App, options: Options, **more: object) -> None:
        super().__init__(app, "visionloop-data", **more)
        _guard(self, options)
        self.key = make_key(self)
        self.network = Network(self, options.size, self.key)
        self.storage = Storage(self, self.key, self.network)
        self.database = Database(self, options.size, self.key, self.network)


class Run(Stack):
    """Tasks, load balancers, Spark, alarms."""

    def __init__(self, app: App, options: Options, data: Data, **more: object) -> None:
        super().__init__(app, "visionloop-run", **more)
        _guard(self, options)
        size, key = options.size, Key.from_key_arn(self, "Key", data.key.key_arn)
        domain = self._ask("Domain", "the web application's name; the API's is api. and this name")
        certificate = self._ask("Certificate", "ARN of a certificate for both names", pattern="arn:aws[a-z-]*:acm:.+")
        address = self._ask("AlarmAddress", "e-mail address for alarms and the budget", pattern=".+@.+")
        tags = {name: self._ask(f"{name.capitalize()}Tag", f"tag of the image visionloop/{name}")
                for name in ("edge", "flows")}  # fmt: skip
        tasks = Tasks(self, size, key, data.network, data.storage, data.database)
        settings = tasks.settings(f"https://api.{domain}", f"https://{domain}")
        images = {name: tasks.image(name, tag) for name, tag in tags.items()}
        services = Services(tasks, size, settings)
        edge = Edge(tasks, size, images["edge"], settings, domain=domain, certificate=certificate)
        firewall(self, size, key, edge.balancer)
        alone = [
            mlflow(tasks, size, images["flows"]),
            prefect(tasks, size, images["flows"]),
            operations(tasks, size, images["flows"], settings),
        ]
        spark(self, size, key, data.network, data.storage)
        Watching(self, size, key, address=address, edge=edge, services=services, database=data.database, tasks=alone)

    def _ask(self, name: str, text: str, pattern: str = ".+") -> str:
        return CfnParameter(self, name, description=text, allowed_pattern=pattern).value_as_string


def _guard(stack: Stack, options: Options) -> None:
    """The template refuses other regions by itself, whoever deploys it with whatever tool."""
    inside = Fn.condition_contains([*options.allowed], Aws.REGION)
    text = f"data of people stays in {', '.join(options.allowed)}"
    CfnRule(stack, "Region", assertions=[CfnRuleAssertion(assert_=inside, assert_description=text)])


def main() -> None:
    # The CDK's command line reads cdk.json, and gives it and `-c` in CDK_CONTEXT_JSON; without it we read it here.
    context = json.loads((HERE / "cdk.json").read_text(encoding="utf-8"))["context"]
    given = os.environ.get("CDK_OUTDIR")
    app = App(context=context, analytics_reporting=False, outdir=given or str(HERE.parents[1] / "build" / "aws"))
    names = ("size", "region", "allow_regions")
    options = Options.of({name: app.node.try_get_context(name) for name in names})
    place = Environment(region=options.region, account=os.environ.get("CDK_DEFAULT_ACCOUNT"))
    data = Data(app, options, env=place, termination_protection=True)
    run = Run(app, options, data, env=place)
    Tags.of(app).add("project", "visionloop")
    acknowledge(data, run)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    main()
