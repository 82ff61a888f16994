"""`visionloop data`: makes, imports, checks and shows data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.options import model_argument
from flows.terminal_progress import show_progress
from registry.cases import groups
from registry.cases.splits import Shares
from registry.contract import catalog
from registry.core import archives, journal
from registry.core.errors import DataError
from registry.core.settings import settings


@click.group()
def data() -> None:
    """Make, import, check and show data sets."""
    settings().apply_environment()


@data.command()
@model_argument
@click.option("--force", is_flag=True, help="Replace the data set that is there.")
def synth(model: str, force: bool) -> None:
    """Draw the starter data of MODEL and version it."""
    from flows.steps import replacing

    with show_progress() as console, replacing.data_set(model, force, "Make the starter data", 8):
        found = replacing.draw(model)
    console.print(f"data/{model}: {found}")


@data.command("import")
@model_argument
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--val-share", default=Shares.val, show_default=True, help="For choosing, if the source has no val split."
)
@click.option("--test-share", default=Shares.test, show_default=True, help="Held out, if the source has no test split.")
@click.option("--map", "renamed", multiple=True, metavar="THEIRS=OURS", help="Rename a class.")
@click.option(
    "--group-pattern",
    default="",
    metavar="REGEX",
    help="Group cases by file name: '^([a-z]+)_' keeps anna_01 and anna_02 in one split.",
)
@click.option(
    "--look-alikes",
    type=click.Choice(("drop", "keep")),
    default="drop",
    show_default=True,
    help="Drop or keep pictures that are nearly the same as held-out ones.",
)
@click.option("--force", is_flag=True, help="Replace the data set that is there.")
def import_(model: str, path: Path, renamed: tuple[str, ...], force: bool, **params: Any) -> None:
    """Check your own data, copy it into MODEL's data set and version it.

    PATH is a folder or a zip in one of the layouts of docs/data.md. If a check fails, nothing is replaced.
    """
    from flows.steps import replacing

    archives.check_source(path)  # before the wait for another run of the model
    if wrong := [one for one in renamed if not all(one.partition("="))]:
        raise click.BadParameter(f"{', '.join(wrong)}; expected THEIRS=OURS, e.g. pistol=weapon")
    val, test = params["val_share"], params["test_share"]
    if min(val, test) < 0 or val + test >= 1:
        raise click.BadParameter(f"--val-share {val:g} and --test-share {test:g} leave nothing to train on")
    groups.compile_pattern(params["group_pattern"])  # a large zip is unpacked for minutes before it is used
    params["map"] = dict(one.split("=", 1) for one in renamed)
    with show_progress() as console, replacing.data_set(model, force, f"Import {path.name}"):
        taken, found = replacing.import_from(model, path, params)
    counts = f"{taken.train} training, {taken.val} validation and {taken.test} test cases"
    console.print(f"{counts}, {taken.unlabelled} without a label: {found}")
    for note in taken.notes:
        console.print(f"  {note}", style="yellow")
    console.print(f"next: visionloop up, if the stack is not up, then visionloop run {model}")


@data.command("hold-out")
@model_argument
@click.option(
    "--share",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the validation cases to move.",
)
def hold_out(model: str, share: float) -> None:
    """Give MODEL's data set a test split, if it has none, and version it. Moves a share of its validation cases."""
    from flows import steps
    from flows.steps import data_versions

    with show_progress() as console, steps.exclusive(model), journal.step("data", "Hold out a test split", model):
        moved = steps.hold_out(model, share)
        found = data_versions.add(model)
    console.print(f"moved {moved} validation cases to the test split: {found}")


@data.command()
@model_argument
def check(model: str) -> None:
    """Check MODEL's data set with Great Expectations, and write its data docs page."""
    from monitoring.checks import validate

    with journal.step("validate", "Check the data", model, usually_s=8):
        validation = validate.validate(model)
        if validation.breaches:
            raise validate.explain(validation)
    click.echo(f"{validation.cases} cases pass {len(validation.outcomes)} checks; data docs: {validation.docs}")
    for outcome in validation.warnings:
        click.secho(f"  to look at: {outcome.says}; {outcome.fix}", fg="yellow")
    _show_lack(model)


def _show_lack(model: str) -> None:
    """The line about what a training on the data set cannot learn, if there is such a thing."""
    if lack := catalog.get(model).data.lacks(settings().data / model):
        click.secho(f"  {lack}", fg="yellow")


def _first_data(model: str) -> str:
    drawn = f"`visionloop data synth {model}` draws one; " if catalog.get(model).data.has_starter else ""
    return f"{drawn}`visionloop data import {model} PATH` takes yours"


@data.command()
@model_argument
def status(model: str) -> None:
    """Show the cases of MODEL's data set, its version, and which stages have to run."""
    from collections import Counter

    from flows.steps import data_versions, dvc_stages

    folder = settings().data / model
    if not folder.is_dir():
        raise DataError(f"there is no data set at {folder}", fix=_first_data(model))
    counts = Counter((case.split, case.origin) for case in catalog.get(model).data.cases(folder))
    for (split, origin), count in sorted(counts.items()):
        click.echo(f"{split:<6} {origin:<20} {count:>5} cases")
    _show_lack(model)
    stale = dvc_stages.stale(model)
    click.echo(f"data.dvc: {data_versions.recorded(model) or 'nothing recorded yet'}")
    click.echo(f"stages to run: {', '.join(stale) or 'none, all are up to date'}")
