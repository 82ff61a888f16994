"""models new: writes the folder of an ordinary model."""

from __future__ import annotations

from pathlib import Path

import click

from registry.contract.new_model import METRICS, TASKS, write_model


@click.command("new")
@click.argument("name")
@click.option("--task", type=click.Choice(tuple(TASKS)), required=True)
@click.option("--classes", required=True, metavar="A,B,C", help="In the order of the network's outputs.")
@click.option("--network", default="", metavar="FAMILY/NAME", help="timm/..., keras/mobilenet_v2 or ultralytics/...")
@click.option("--metric", default="", type=click.Choice(("", *METRICS)), help="What decides.", show_choices=True)
@click.option("--title", default="", help="For people; the name in words if it is not given.")
def new(name: str, task: str, classes: str, network: str, metric: str, title: str) -> None:
    """Write the folder of an ordinary model, NAME. Its data you import; its parameters are those of its task."""
    named = [one.strip() for one in classes.split(",") if one.strip()]
    folder = write_model(name, task, named, network, metric, title)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    click.echo(f"{shown}: __init__.py and model.py; its parameters: `{task}` in params.yaml")
    click.echo(f"next: visionloop data import {name} PATH, then visionloop run {name}")
