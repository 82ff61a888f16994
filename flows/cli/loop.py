"""run and demo."""

from __future__ import annotations

import click

from flows.cli.options import ModelName, local_option, model_argument, prepare
from flows.cli.teller import telling


@click.command()
@model_argument
@local_option
@click.option("--why", default="run of the loop", help="Stands on the decision page.")
@click.option("--from", "start", type=click.Choice(("scratch", "champion")), help="What training starts from.")
def run(model: str, local: bool, why: str, start: str | None) -> None:
    """The whole loop for MODEL: data, checks, train, compress, evaluate, register, decide, package, release.

    What did not change since the last run is skipped. With --local everything up to the decision runs without
    any server.
    """
    prepare(local)
    from flows import loop, steps
    from registry.versions import Versions

    if start:
        steps.prepare_start(model, Versions().get(model) if start == "champion" else None)
    with telling() as console:
        if local:
            outcome = loop.run(model, why=why, serve=False)
            text = f"{outcome.version}: {'champion' if outcome.granted else 'not promoted'}"
        else:
            from flows.running import run_flow

            text = run_flow("loop", model=model, asked_by="the command line", why=why)
    console.print(text)


@click.command()
@click.argument("model", type=ModelName(), default="skin_segmentation")
@click.option(
    "--fresh", is_flag=True, help="Forget versions, predictions and data first; the story from its beginning."
)
@click.option("--all", "every", is_flag=True, help="Every model: trained, registered, served; without break and heal.")
@click.option("--how", help="The shift to play; default: the model's first.")
@click.option("--severity", default=0.8, show_default=True, type=click.FloatRange(0, 1, min_open=True))
def demo(model: str, fresh: bool, every: bool, how: str | None, severity: float) -> None:
    """The whole story of MODEL on starter data: train, serve, break, notice, heal.

    Takes a few minutes; a second run skips what is unchanged. The stack stays up: `visionloop down` stops it.
    """
    prepare(local=False, needs_stack=False)
    if every:
        from flows import demo_all

        demo_all.tell(fresh=fresh)
        return
    from flows.demo import tell

    tell(model, fresh=fresh, how=how, severity=severity)
