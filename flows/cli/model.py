"""train, promote, decisions, package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from flows.deploy import engines
from flows.options import local_option, model_argument, model_version_argument, prepare, which
from flows.stack.control import Stack
from flows.terminal_progress import show_progress
from registry.core.errors import BadInput, NotFound, UsageError
from registry.core.settings import settings

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version


@click.command()
@model_argument
@local_option
def train(model: str, local: bool) -> None:
    """Train, compress and evaluate MODEL and register the version; decides and releases nothing."""
    prepare(local)
    from flows import steps

    with show_progress() as console, steps.exclusive(model):
        steps.prepare_data(model)
        steps.ensure_start(model)
        version = steps.register(model, steps.build(model))
    console.print(f"{version}: `visionloop promote {model} {version.number}` asks the gate")


@click.command()
@model_version_argument
@click.argument("version", required=False)
@click.option("--why", default="asked by hand", help="Stands on the decision page.")
@local_option
def promote(model: str, version: str | None, why: str, local: bool) -> None:
    """Ask the gate to make a VERSION (a number or an alias; else the challenger) of MODEL the registry's champion.

    Moves no traffic: `visionloop release MODEL VERSION` does, and `visionloop release MODEL promote` ends a canary.
    Exit code 7: refused.
    """
    model, version = which(model, version, "challenger")
    prepare(local)
    from flows import steps
    from registry.versions.mlflow_registry import CHALLENGER, Versions

    with show_progress():
        found = _challenger(model) if version == CHALLENGER else Versions().get(model, version)
        if not steps.decide(found, "the command line", why, again=True):
            raise steps.refusal(found)
    click.echo((steps.latest_decision(found) or {}).get("summary", f"{found} is champion already"))
    if not local:
        from flows.releases import changes

        click.echo(changes.traffic_of_champion(model, found.number))


def _challenger(model: str) -> Version:
    """The version that waits for the gate's answer. Raises NotFound with what to ask instead."""
    from registry.versions.mlflow_registry import CHALLENGER, Versions

    found = Versions().find(model, CHALLENGER)
    if found is None and (known := Versions().list(model)):
        raise NotFound(
            f"no version of {model} waits for the gate's answer",
            expected="a challenger: a version that the gate was not asked about yet",
            fix=f"`visionloop promote {known[0]}` asks about the latest version again",
        )
    return found or Versions().get(model, CHALLENGER)


@click.command()
@model_version_argument
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="The latest one, whole, as JSON.")
def decisions(model: str, version: str | None, as_json: bool) -> None:
    """The decision pages of MODEL, the latest first, with what failed. With a VERSION (a number): every rule."""
    model, version = which(model, version, "")
    if version and not version.isdigit():
        raise BadInput(f"the version is {version!r}", expected="a number", fix=f"`visionloop decisions {model}`")
    from flows.steps import pages
    from registry.versions.decision import Reason

    found = [one for one in pages.decisions(model) if not version or str(one[0]["challenger"]) == version]
    if not found:
        name = f"{model} version {version}" if version else model
        ask = f"promote {model} {version}` asks the gate" if version else f"run {model}` leads to one"
        raise NotFound(f"no decision about {name} yet", fix=f"`visionloop {ask}")
    if as_json:
        click.echo(json.dumps(found[0][0], indent=2))
        return
    base = settings().home_address if Stack().running() else ""
    for decision, path in found:
        page = path.with_suffix(".html")
        where = f"{base}/{page.relative_to(settings().var)}" if base else str(page)
        click.echo(f"{decision['created']}  {decision['summary']}\n    {where}")
        for reason in (Reason(**one) for one in decision["reasons"]):
            if version or not reason.passed:
                click.echo(f"    {'✓' if reason.passed else '✗'} {reason}")


@click.command()
@model_version_argument
@click.argument("version", required=False)
@click.option("--image", is_flag=True, help="Build a container image of it, too; prints its name.")
@click.option("--engine", type=click.Choice(engines.ENGINES), help="Builds the image; default: the first that is here.")
@click.option("--base", metavar="IMAGE", help="Begin the image with this one, best by digest: python@sha256:...")
@click.option("--build-option", "options", multiple=True, metavar="WORD", help="One more word for the engine.")
def package(model: str, version: str | None, image: bool, engine: str, base: str, options: tuple[str, ...]) -> None:
    """Build the Bento of a VERSION (a number or an alias; else the champion) of MODEL; prints its tag."""
    model, version = which(model, version, "champion")
    if not image and (engine or base or options):
        raise UsageError(
            "--engine, --base and --build-option are about an image", expected="--image", fix="add --image"
        )
    program = engines.engine(engine or "") if image else ""
    prepare(local=False)
    from flows import steps
    from registry.versions.mlflow_registry import Versions

    tag = steps.package(Versions().get(model, version))
    click.echo(tag)
    if image:
        from flows.deploy.images import build_service

        click.echo(f"{program} builds the image; the first time it takes minutes", err=True)
        click.echo(build_service(tag, program, base=base or "", options=options))
        return
    click.echo(f"by hand: BENTOML_HOME={settings().var / 'bentoml'} bentoml serve {tag}", err=True)
