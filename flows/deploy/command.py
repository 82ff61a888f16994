"""`visionloop deploy aws --plan`."""

from __future__ import annotations

from collections import Counter

import click

from flows.deploy import aws as plans
from registry.core.errors import MissingService, UsageError
from registry.core.settings import settings


@click.group()
def deploy() -> None:
    """Show what a deployment outside this machine would build and change."""


@deploy.command()
@click.option("--plan", is_flag=True, help="Show what would happen. There is no other way: `cdk deploy` deploys.")
@click.option("--size", type=click.Choice(("small", "large")), default="small", show_default=True)
@click.option("--region", default="eu-central-1", show_default=True)
@click.option("--allow-regions", default="", metavar="NAMES", help="Regions outside the EU to allow, with commas.")
def aws(plan: bool, size: str, region: str, allow_regions: str) -> None:
    """Resources of the templates for AWS by type, and what differs from what the account has.

    Needs `make aws-setup`. Without an account it shows what a first deployment makes. docs/aws.md deploys.
    """
    if not plan:
        raise UsageError(
            "visionloop does not deploy by itself", expected="--plan",
            fix="`visionloop deploy aws --plan` shows what would happen; docs/aws.md says how to deploy",
        )  # fmt: skip
    made = plans.templates(settings().root, size, region, allow_regions)
    total = sum(len(one) for one in made.values())
    click.echo(f"size {size}, region {region}: {len(made)} stacks, {total} resources (templates in build/aws)")
    try:
        there = plans.deployed(region, list(made))
    except MissingService as error:
        there = {}
        click.secho(f"{error.found}\n  so this shows all that a first deployment makes", fg="yellow", err=True)
        click.echo(f"  to compare: {error.fix}", err=True)
    for name, resources in made.items():
        before = there.get(name)
        click.echo(f"\n{name}: {len(resources)} resources" + ("" if before else ", all new"))
        if not before:
            _print_counts(plans.count(resources))
        else:
            _print_changes(plans.changes(before, resources))


def _print_counts(counts: Counter[str]) -> None:
    for kind, number in sorted(counts.items()):
        click.echo(f"  {number:4} {kind}")


def _print_changes(found: list[plans.Change]) -> None:
    signs = {"new": ("+", "green"), "changed": ("~", "yellow"), "gone": ("-", "red")}
    for one in found:
        sign, colour = signs[one.kind]
        click.secho(f"  {sign} {one.type} {one.name}", fg=colour)
    if not found:
        click.echo("  no change")
