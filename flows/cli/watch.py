"""`visionloop monitor` and `break`."""

from __future__ import annotations

import click

from flows.options import local_option, model_argument, prepare, severity_option, shift_of
from flows.terminal_progress import show_progress
from registry.contract import catalog
from registry.core import journal


@click.command()
@model_argument
@local_option
@click.option("--last", type=click.IntRange(min=1), help="How many predictions to judge. Default: 200.")
def monitor(model: str, local: bool, last: int | None) -> None:
    """Judge MODEL's recent predictions against the reference, and say what to do.

    On a running stack, a verdict that asks for retraining starts the retraining flow.
    """
    prepare(local)
    with show_progress():
        if local:
            from flows import steps
            from flows.steps import loop

            verdict = loop.monitor(model, last=last)
            text = verdict if isinstance(verdict, str) else steps.in_words(verdict, str(verdict.page))
        else:
            from flows.orchestration.running import run_flow

            text = run_flow("monitor", model=model, last=last)
    click.echo(text)


@click.command("break")
@model_argument
@click.option("--how", help="The shift. Default: the model's first. `--how list` lists them.")
@severity_option
@click.option("--count", default=40, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--label", is_flag=True, help="Also give the true labels as feedback.")
def break_(model: str, how: str | None, severity: float, count: int, seed: int, label: bool) -> None:
    """Play a stream of shifted inputs against MODEL's service."""
    if how == "list":
        for name, about in catalog.get(model).shift.HOW.items():
            click.echo(f"{name:<12} {about}")
        return
    chosen = shift_of(model, how)
    prepare(local=False)
    from flows.demo import stream

    with show_progress(), journal.step("break", f"Break the input: {chosen}", model):
        ids = stream.play(model, chosen, severity, count, seed, label=label)
    click.echo(f"{len(ids)} predictions; `visionloop monitor {model}` judges them")
