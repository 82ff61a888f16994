"""`visionloop featurize`: writes the features of many pictures as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.options import ModelName, prepare
from registry.core.errors import UsageError
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings

if TYPE_CHECKING:
    from flows.batch.featurize import Summary


@click.command()
@click.argument("source")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the Parquet parts.")
@click.option("--model", type=ModelName(), help="Default: the model whose task is features.")
@click.option("--version", "which", default="champion", show_default=True, help="A number or an alias.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 1024), help="Pictures per batch.")
@click.option("--workers", default=0, type=click.IntRange(0, 512), help="Default: one per core.")
@click.option("--fresh", is_flag=True, help="Delete the parts of an earlier run first.")
@click.option("--local", is_flag=True, help="Without a server: read MLflow's database.")
def featurize(
    source: str, out: Path, model: str | None, which: str, batch: int, workers: int, fresh: bool, local: bool
) -> None:
    """Write the features of all pictures in SOURCE (a folder, or s3://bucket/prefix) as Parquet.

    The same command continues a run that stopped. Unreadable pictures become rows with an error.
    """
    model = model or _only_model()
    prepare(local, needs_stack=not settings().mlflow_uri)  # MLflow may run elsewhere
    from flows.batch.featurize import featurize as run
    from registry.versions.mlflow_registry import Versions

    versions = Versions()
    version = versions.get(model, which)
    bundle = versions.fetch(version).path
    with progress_bar(str(version), lines=True) as show:
        done = run(source, out, version, bundle, batch=batch, workers=workers, fresh=fresh, on_progress=show)
    _print_summary(done, out)


def _only_model() -> str:
    from flows.batch.featurize import feature_models

    found = [spec.name for spec in feature_models()]
    if len(found) != 1:
        raise UsageError("--model is missing", expected=f"one of {', '.join(found)}", fix="name the model")
    return found[0]


def _print_summary(done: Summary, out: Path) -> None:
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
        click.echo(f"{done.others} other files were skipped", err=True)
