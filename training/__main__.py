"""`python -m training models`, and `start|train|compress|evaluate MODEL`: what the stages of dvc.yaml run."""

from __future__ import annotations

import functools
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from registry.core.errors import VisionloopError
from registry.core.settings import settings

if TYPE_CHECKING:
    from training.stages.variants import Report


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train, compress and evaluate one model, from the data in data/ to a bundle in build/."""


def _stage(work: Callable[..., None]) -> Callable[..., None]:
    """A command that runs a stage; its errors become a message and an exit code."""

    @functools.wraps(work)
    def run(*arguments: object, **options: object) -> None:
        try:
            _without_a_stack()
            settings().apply_environment()
            work(*arguments, **options)
        except VisionloopError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on from the last checkpoint", err=True)
            sys.exit(130)

    return run


def _without_a_stack() -> None:
    """`dvc repro` by hand, the stack down: MLflow's database is written directly, as its server would."""
    at = settings()
    if at.mlflow_uri:
        return
    try:
        socket.create_connection((at.host, at.mlflow_port), timeout=2).close()
    except OSError:
        (at.var / "mlflow").mkdir(parents=True, exist_ok=True)
        os.environ["VISIONLOOP_MLFLOW_URI"] = at.mlflow_store
        settings.cache_clear()


@main.command()
@_stage
def models() -> None:
    """Write the list of models that dvc.yaml reads, after a model was added."""
    from training.workspace.parameters import write_models

    write_models(settings().root)


@main.command()
@click.argument("model")
@_stage
def start(model: str) -> None:
    """Say what MODEL starts from: the champion that a retraining chose, else the weights file that there is now."""
    from training.workspace.starting_point import keep_start
    from training.workspace.workspace import open_workspace

    keep_start(open_workspace(model))


@main.command()
@click.argument("model")
@click.option("--fresh", is_flag=True, help="Forget a checkpoint or a finished training and begin anew.")
@_stage
def train(model: str, fresh: bool) -> None:
    """Train MODEL, from scratch or from the champion in build/MODEL/start; goes on after an interruption."""
    from training.stages.train import train as run
    from training.workspace.workspace import open_workspace

    click.echo(run(open_workspace(model), fresh=fresh)["says"])


@main.command()
@click.argument("model")
@_stage
def compress(model: str) -> None:
    """Prune, export and quantise MODEL; measure every variant and choose the one that serves."""
    from training.stages.compress import compress as run
    from training.workspace.workspace import open_workspace

    workspace = open_workspace(model)
    _table(run(workspace), workspace.spec.metric.title)


@main.command()
@click.argument("model")
@_stage
def evaluate(model: str) -> None:
    """Evaluate the chosen variant of MODEL on held-out cases and seal its bundle."""
    from training.stages.evaluate import seal_bundle
    from training.workspace.workspace import open_workspace

    workspace = open_workspace(model)
    bundle = seal_bundle(workspace)
    click.echo(bundle.manifest.score.in_words(workspace.spec.metric.title))
    click.echo(f"bundle {bundle.digest[:12]} in {bundle.path}")


def _table(report: Report, metric: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for name in ("variant", metric, "95 % interval", "p50 ms", "p95 ms", "MB", "MMACs", ""):
        table.add_column(name, justify="left" if name in ("variant", "") else "right", no_wrap=name == "variant")
    for row in report.variants:
        table.add_row(
            row.name,
            f"{row.score.value:.4f}",
            f"{row.score.low:.4f} to {row.score.high:.4f}",
            f"{row.p50_ms:.2f}",
            f"{row.p95_ms:.2f}",
            f"{row.size_mb:.1f}",
            f"{row.macs / 1e6:.0f}",
            row.why,
            style="bold" if row.chosen else None,
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main()
