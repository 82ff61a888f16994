"""`visionloop featurize` and `predict-batch`: answers for many files as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.options import ModelName, prepare
from registry.core.errors import BadInput, UsageError
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings

if TYPE_CHECKING:
    from flows.batch.job import Engine
    from flows.batch.run import BatchVersion, Summary
    from flows.batch.spaces import Space


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for option in reversed(
        (
            click.option("--out", required=True, help="Folder or s3://bucket/prefix for the Parquet parts."),
            click.option("--engine", default="local", show_default=True, type=click.Choice(["local", "spark"])),
            click.option("--version", "which", default="champion", show_default=True, help="A number or an alias."),
            click.option(
                "--bundle", type=click.Path(path_type=Path), help="A bundle's folder; no registry is asked then."
            ),
            click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 1024), help="Files a batch."),
            click.option("--workers", default=0, type=click.IntRange(0, 512), help="Default: one per core."),
            click.option("--fresh", is_flag=True, help="Delete the parts of an earlier run first."),
            click.option("--local", is_flag=True, help="Without a server: read MLflow's database."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("source")
@click.option("--model", type=ModelName(), help="Default: the model whose task is features.")
@click.option(
    "--pca", default=0, type=click.IntRange(0, 4096), help="Fit so many principal components to the features."
)
@_options
def featurize(source: str, model: str | None, pca: int, out: str, **options: Any) -> None:
    """Write the features of all pictures in SOURCE as Parquet.

    SOURCE is a folder, a 'glob', s3://bucket/prefix, or Parquet with the files' bytes. The same command continues a run
    that stopped. Unreadable pictures go to the table of rejects.
    """
    model = model or _only_model()
    _run(source, out, model, "features", pca=pca, **options)


@click.command("predict-batch")
@click.argument("model", type=ModelName())
@click.argument("source")
@click.option("--media", default="", help="Also keep a file of this type for each, e.g. image/jpeg.")
@_options
def predict_batch(model: str, source: str, media: str, out: str, **options: Any) -> None:
    """Write MODEL's predictions for all files in SOURCE as Parquet.

    SOURCE is a folder, a 'glob', s3://bucket/prefix, or Parquet with the files' bytes. The same command continues a run
    that stopped. Unreadable files go to the table of rejects.
    """
    _run(source, out, model, "predictions", media=media, **options)


def _run(
    source: str, out: str, model: str, kind: str, *, which: str, bundle: Path | None, local: bool, **options: Any
) -> None:
    name = options.pop("engine")
    engine = _engine(name)
    version, folder = _from_bundle(model, bundle) if bundle else _from_registry(model, which, local)
    from flows.batch.run import run

    def track(space: Space) -> None:
        if bundle is None:
            from flows.batch.tracking import track_space

            track_space(space, version, source, name)

    with progress_bar(str(version), lines=True) as show:
        done = run(source, out, version, folder, kind, engine=engine, on_progress=show, on_space=track, **options)
    _print_summary(done, out)


def _from_registry(model: str, which: str, local: bool) -> tuple[BatchVersion, Path]:
    prepare(local, needs_stack=not settings().mlflow_uri)  # MLflow may run elsewhere
    from registry.versions.mlflow_registry import Versions

    versions = Versions()
    version = versions.get(model, which)
    return version, versions.fetch(version).path


@dataclass(frozen=True)
class _Unregistered:
    """A bundle that no registry was asked for."""

    model: str
    digest: str

    def __str__(self) -> str:
        return f"{self.model}@{self.digest[:12]}"


def _from_bundle(model: str, folder: Path) -> tuple[BatchVersion, Path]:
    from registry.versions.bundle import open_bundle

    bundle = open_bundle(folder)
    if bundle.manifest.model != model:
        raise BadInput(f"{folder} is a bundle of {bundle.manifest.model}", expected=f"one of {model}", fix="correct it")
    return _Unregistered(model, bundle.digest), folder


def _engine(name: str) -> Engine:
    if name == "spark":
        from flows.spark import engine, session

        session.require()
        return engine
    from flows.batch import local

    return local


def _only_model() -> str:
    from flows.batch.run import feature_models

    found = [spec.name for spec in feature_models()]
    if len(found) != 1:
        raise UsageError("--model is missing", expected=f"one of {', '.join(found)}", fix="name the model")
    return found[0]


def _print_summary(done: Summary, out: str) -> None:
    if done.done == 0:
        click.echo(f"nothing to do: {out} holds all {done.pictures} pictures of {done.version}")
    else:
        rate = done.done / max(done.seconds, 1e-9)
        click.echo(
            f"{done.done} pictures with {done.version} in {done.seconds:.1f} s ({rate:.0f}/s): "
            f"{done.parts} parts in {out}"
        )
    if done.explained is not None:
        click.echo(f"the components explain {done.explained:.1%} of the variance")
    if done.rejected:
        click.secho(f"{done.rejected} could not be read: see the table `rejects`", fg="yellow", err=True)
    if done.others:
        click.echo(f"{done.others} other files were skipped", err=True)
