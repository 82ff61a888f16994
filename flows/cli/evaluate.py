"""evaluate: scores a version on the test cases or on own files, without training."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flows.cli.options import OutputFile, model_version_argument, prepare, which
from registry.contract import catalog
from registry.core import archives
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings

WORST = 5


@click.command()
@model_version_argument
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--csv", "table", type=OutputFile(), help="Write one row for each case there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--local", is_flag=True, help="Without a server: MLflow's database directly.")
def evaluate(model: str, source: Path | None, table: Path | None, as_json: bool, local: bool) -> None:
    """Score a version (the champion, if none is named) without training. Changes nothing.

    Without SOURCE on the test cases of data/MODEL; else on all labelled files of SOURCE, a folder or a zip in one of
    the layouts of docs/data.md. Files that the version learned from make the figure too good.
    """
    name, version = which(model, None, "champion")
    spec = catalog.get(name)
    if source is not None:
        archives.check_source(source)
    prepare(local, needs_stack=not settings().mlflow_uri)
    from flows.steps import evaluating
    from registry.versions.mlflow_registry import Versions

    found_version = Versions().get(name, version)
    with progress_bar("evaluating") as bar:
        found = evaluating.evaluate(found_version, source, bar)
    lowest = evaluating.worst(found, WORST)
    if table:
        found.per_case.drop(columns="embedding").to_csv(table, index=False)
    if as_json:
        slices = {label: one.model_dump() for label, one in found.slices.items()}
        facts = {"model": name, "version": found_version.number, "metric": spec.metric.name}
        click.echo(
            json.dumps({**facts, "score": found.score.model_dump(), "slices": slices, "worst": lowest}, indent=2)
        )
        return
    click.echo(f"{found_version}: {found.score.in_words(spec.metric.title)}")
    for label, one in found.slices.items():
        click.echo(f"  {label:<32} {one.value:.4f} ({one.low:.4f} to {one.high:.4f}), {one.cases} cases")
    click.echo("lowest scores: " + ", ".join(f"{one['case']} {one['score']:.3f}" for one in lowest))
    if table:
        click.echo(f"one row for each case: {table}", err=True)
