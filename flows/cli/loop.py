"""`visionloop run`, `retrain` and `demo`: the whole loop for one model, and its story on starter data."""

from __future__ import annotations

from typing import Any

import click

from flows.options import ModelName, local_option, model_argument, prepare, severity_option, shift_of
from flows.terminal_progress import show_progress


@click.command()
@model_argument
@local_option
@click.option("--why", default="run of the loop", help="The reason, for the decision page.")
@click.option("--from", "start", type=click.Choice(("scratch", "champion")), help="What training starts from.")
def run(model: str, local: bool, why: str, start: str | None) -> None:
    """The whole loop for MODEL: data, checks, train, compress, evaluate, register, decide, package, release.

    Skips what has not changed since the last run. With --local, everything up to the decision runs without a server.
    Exit code 7: the gate refused the version.
    """
    prepare(local)
    from flows.steps import data_versions

    _finish(_run("loop", local, model, why=why, start=start))  # a refused run ends here: nothing of it is to keep
    if names := " ".join(data_versions.to_commit(model)):
        click.echo(f"to keep this data and its figures: git add {names} && git commit {names}", err=True)


@click.command()
@model_argument
@local_option
@click.option("--verdict", default="", help="The drift verdict to act on. Default: the latest.")
def retrain(model: str, local: bool, verdict: str) -> None:
    """Add MODEL's labelled predictions to its data and fine-tune the champion. The gate decides."""
    prepare(local)
    from flows import steps

    text = _run("retrain", local, model, verdict=steps.find_verdict(model, verdict).id)
    _finish(text)


def _finish(outcome: str) -> None:
    """Prints an outcome. Raises Refused, with the gate's reasons, if the version was not promoted."""
    version, _, state = outcome.partition(" ")
    if state == "not promoted":
        from flows import steps
        from registry.versions.mlflow_registry import Versions

        raise steps.refusal(Versions().get(*version.split("@")))
    click.echo(outcome)


def _run(name: str, local: bool, model: str, **parameters: Any) -> str:
    """Runs `loop` or `retrain` in this process or as a flow. Returns the outcome in words."""
    parameters["asked_by"] = "the command line"
    with show_progress():
        if local:
            from flows.steps import loop

            work: Any = {"loop": loop.run, "retrain": loop.retrain}[name]
            return str(work(model, serve=False, **parameters))
        from flows.orchestration.running import run_flow

        return run_flow(name, model=model, **parameters)


@click.command()
@click.argument("model", type=ModelName(), default="skin_segmentation")
@click.option("--fresh", is_flag=True, help="Delete versions, predictions and data first.")
@click.option("--yes", "sure", is_flag=True, help="With --fresh: also delete other models' versions, and API keys.")
@click.option("--all", "every", is_flag=True, help="Train, register and serve every model; no drift, no retraining.")
@click.option("--how", help="The shift to play. Default: the model's first.")
@severity_option
def demo(model: str, fresh: bool, sure: bool, every: bool, how: str | None, severity: float) -> None:
    """The whole story of MODEL on starter data: train, serve, break, notice, retrain.

    Takes a few minutes. A second run skips what has not changed. The stack stays up; `visionloop down` stops it.
    """
    if every and how:
        raise click.UsageError("--how is for the demo of one model: leave it out, or --all.")
    shift = shift_of(model, how)
    prepare(local=False, needs_stack=False)
    if every:
        from flows.demo import all_models

        all_models.run(fresh=fresh, sure=sure)
    else:
        from flows.demo import one_model

        one_model.run(model, fresh=fresh, sure=sure, shift=shift, severity=severity)
