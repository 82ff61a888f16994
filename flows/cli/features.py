"""featurize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import ModelName, prepare
from registry.core.errors import BadInput
from registry.core.settings import settings

if TYPE_CHECKING:
    from flows.batch.featurize import Summary, Work


@click.command()
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder for the Parquet parts.")
@click.option("--model", type=ModelName(), help="Default: the model whose task is features.")
@click.option("--version", "which", default="champion", show_default=True, help="A number or an alias.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 1024), help="Pictures at once.")
@click.option("--workers", default=0, type=click.IntRange(0, 512), help="Default: one for each core.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run has written there.")
@click.option("--local", is_flag=True, help="Without a server: MLflow's database directly.")
def featurize(
    source: str, out: Path, model: str | None, which: str, batch: int, workers: int, fresh: bool, local: bool
) -> None:
    """Write the features of all pictures in SOURCE (a folder, or s3://bucket/prefix) as Parquet.

    The same command again goes on where it stopped. Unreadable pictures become rows with an error.
    """
    model = model or _only_model()
    prepare(local, needs_stack=not settings().mlflow_uri)  # elsewhere it need not be our stack that runs MLflow
    from flows.batch.featurize import featurize as run
    from registry.versions.mlflow_registry import Versions

    versions = Versions()
    version = versions.get(model, which)
    bundle = versions.fetch(version).path
    with _Bar() as bar:
        done = run(
            source, out, version, bundle, batch=batch, workers=workers, fresh=fresh, begins=bar.begins, told=bar.told
        )
    _say(done, out)


def _only_model() -> str:
    from flows.batch.featurize import feature_models

    found = [spec.name for spec in feature_models()]
    if len(found) != 1:
        raise BadInput("--model is missing", expected=f"one of {', '.join(found)}", fix="name the model")
    return found[0]


def _say(done: Summary, out: Path) -> None:
    if done.done == 0:
        click.echo(f"nothing to do: {out} holds all {done.pictures} pictures of {done.version}")
    else:
        rate = done.done / max(done.seconds, 1e-9)
        click.echo(
            f"{done.done} pictures with {done.version} in {done.seconds:.1f} s ({rate:.0f}/s): "
            f"{done.parts} parts in {out}"
        )
    if done.unreadable:
        click.secho(f"{done.unreadable} could not be read: see the column `error`", fg="yellow", err=True)
    if done.others:
        click.echo(f"{done.others} other files were passed over", err=True)


class _Bar:
    """A progress bar in a terminal, a line each tenth elsewhere. Told from several threads."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._progress.start()
        self._bad = self._tenths = 0
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()

    def begins(self, work: Work) -> None:
        done = work.pictures - work.left
        note = f"goes on after {done}" if done and work.left else ""
        if work.left and not self._console.is_terminal:
            self._console.print(
                f"{work.left} pictures, {work.workers} workers, {work.version} {note}".rstrip(), highlight=False
            )
        self._task = self._progress.add_task(work.version, total=work.pictures, completed=done, note=note)

    def told(self, pictures: int, errors: int) -> None:
        self._bad += errors
        self._progress.update(self._task, advance=pictures, note=f"{self._bad} unreadable" if self._bad else "")
        task = self._progress.tasks[0]
        tenths = int(10 * task.completed / (task.total or 1))
        if tenths > self._tenths and not self._console.is_terminal:
            self._tenths = tenths
            self._console.print(f"  {task.completed:.0f} of {task.total:.0f}", highlight=False)
