"""`visionloop ui`, `models`, `version` and `completion`."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import click

from flows.stack import layout
from flows.stack.control import Stack
from registry.contract import catalog
from registry.core.errors import MissingService, NotFound, VisionloopError
from registry.core.settings import Settings, settings
from registry.vision_tasks.new_model import LABELS, METRICS, TASKS, write_model


@click.command()
@click.argument("page", type=click.Choice(("home", "mlflow", "prefect", "drift", "api")), default="home")
@click.option("--model", help="For `api` and `mlflow`: the page of one model. Default: of all models.")
@click.option("--no-open", is_flag=True, help="Only print the address.")
def ui(page: str, model: str | None, no_open: bool) -> None:
    """Open a page of the running stack in the browser, and print its address.

    home: the story page. mlflow, prefect: their own pages. drift: Evidently's view of the drift reports, started when
    first opened. api: all calls of the API.
    """
    config = settings()
    stack = Stack(config)
    if not stack.running():
        raise MissingService("the stack is not up", expected="a running stack", fix="`visionloop up` starts it")
    if page == "drift" and not any(one.name == layout.DRIFT and one.ready for one in stack.status()):
        click.echo("starting Evidently's UI (about 15 s) ...", err=True)
        stack.start_spec(layout.drift(config))
    name = catalog.get(model).name if model else ""
    if page == "api" and name and name not in _live(config):
        raise NotFound(
            f"{name} has no API page, because no version of it is live",
            expected="a model with a live version",
            fix=f"`visionloop ui api` opens that of all models; `visionloop run {name}` releases a version",
        )
    address = {
        "home": config.home_address,
        "mlflow": config.mlflow_page(name),
        "prefect": config.prefect_page,
        "drift": config.drift_address,
        "api": f"{config.router_address}/v1/models/{name}/docs" if name else f"{config.router_address}/docs",
    }[page]
    click.echo(address)
    if not no_open and sys.stdout.isatty():
        click.launch(address)


def _live(config: Settings) -> dict[str, int]:
    """Model -> live version. Empty if this folder's stack is not up: another stack's router may have its port."""
    from flows.router_client import router_client

    try:
        if any(one.name == "router" and one.state == "ready" for one in Stack(config).status()):
            with router_client(timeout_s=2) as client:
                return {one.name: one.version for one in client.models() if one.version}
    except (VisionloopError, ValueError):  # away, or of another version
        pass
    return {}


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """The models: what each does, and which version of it is live (has the traffic). `models new` writes another."""
    if context.invoked_subcommand:
        return
    from flows import champions as registered

    live = _live(settings())
    champions = (registered.champions(timeout_s=1.0) or {}) if live else {}
    width = max(len(name) for name in catalog.names())
    for spec in catalog.all_specs():
        state = f"version {live[spec.name]} is live" if spec.name in live else "not served now"
        champion = champions.get(spec.name)
        if spec.name in live and champion is not None and champion != live[spec.name]:
            state += f", version {champion} is the registry's champion"
        click.echo(f"{spec.name:<{width}}  {spec.title} ({spec.framework}, {spec.metric.name}); {state}")


@models.command()
@click.argument("name")
@click.option("--task", type=click.Choice(tuple(TASKS)), required=True)
@click.option("--classes", default="", metavar="A,B,C", help="In the order of the network's outputs.")
@click.option(
    "--classes-from",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Take the classes of a folder or zip that `data import` reads.",
)
@click.option("--network", default="", metavar="FAMILY/NAME", help="timm/..., keras/..., ultralytics/... or smp/...")
@click.option("--metric", type=click.Choice(METRICS), help="What decides. Default: that of the task.")
@click.option("--title", default="", help="For people; the name in words if it is not given.")
def new(name: str, task: str, classes: str, classes_from: Path | None, **options: Any) -> None:
    """Write the folder of an ordinary model, NAME. Its data you import; its parameters are those of its task."""
    if bool(classes) == bool(classes_from):
        raise click.UsageError("Name the classes: either --classes A,B,C or --classes-from PATH.")
    names = [one.strip() for one in classes.split(",") if one.strip()]
    if classes_from:
        from registry.datasets.class_names import read_class_names

        names, read_as = read_class_names(classes_from, LABELS[task])
        click.echo(f"{len(names)} classes, read as {read_as}: {', '.join(names)}")
    folder = write_model(name, task, names, options["network"], options["metric"] or "", options["title"])
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    click.echo(f"{shown}: __init__.py and model.py; its parameters: `{task}` in params.yaml")
    path = shlex.quote(str(classes_from)) if classes_from else "PATH"
    click.echo(f"next: visionloop data import {name} {path}, visionloop up, visionloop run {name}")


@click.command()
def version() -> None:
    """Print this program's version."""
    try:
        click.echo(installed("visionloop"))
    except PackageNotFoundError:
        click.echo("not installed (running from the source folder)")


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  visionloop completion bash > ~/.local/share/bash-completion/completions/visionloop
    zsh:   visionloop completion zsh > "${fpath[1]}/_visionloop"
    fish:  visionloop completion fish > ~/.config/fish/completions/visionloop.fish
    """
    from click import shell_completion

    from flows.cli import cli

    kind = shell_completion.get_completion_class(shell)
    assert kind is not None, "click knows these three"
    click.echo(kind(cli, {}, "visionloop", "_VISIONLOOP_COMPLETE").source())  # warns where bash is too old
