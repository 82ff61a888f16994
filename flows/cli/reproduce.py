"""`visionloop reproduce`: prints what made a served result, computes it again and compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.options import OutputFile, prepare
from registry.core.errors import Refused
from registry.core.files import write_file
from registry.core.settings import settings

if TYPE_CHECKING:
    from flows.steps.reproduce import Difference


@click.command()
@click.argument("prediction")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--local", is_flag=True, help="Without a server: MLflow's database directly.")
@click.option("--save-input", "path", type=OutputFile(), help="Write the kept input there, decrypted.")
def reproduce(prediction: str, as_json: bool, local: bool, path: Path | None) -> None:
    """Show what made the result of PREDICTION (an id), compute it again and compare.

    Exit code 4: the prediction is unknown, or its input is no longer kept. 7: the result is another one.
    """
    prepare(local, needs_stack=not settings().mlflow_uri)
    from flows.steps.reproduce import run_again, trace
    from monitoring.log import inputs
    from registry.versions.mlflow_registry import Versions

    origin = trace(prediction, Versions())
    if not as_json:
        _print_facts(origin.to_json())
    if path is not None and origin.input is not None:
        write_file(path, inputs.read(origin.input))
    found = run_again(origin)
    off = [one for one in found if not one.within]
    if as_json:
        verdict = {"same": not off, "comparison": [one.to_json() for one in found]}
        click.echo(json.dumps({**origin.to_json(), **verdict}, indent=2))
    else:
        _print_comparison(found)
    if off:
        raise Refused(
            f"another result: {len(off)} of {len(found)} numbers differ, {off[0].name} most visibly "
            f"({off[0].logged:.5g} then, {off[0].now:.5g} now)",
            expected="the same numbers within 3 % or 0.01, embeddings within 3 %",
            fix="compare the engine, its numerics and the CPU with those of the service that answered",
        )


def _print_facts(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console, served = Console(), f"{facts['model']}@{facts['version']}, as {facts['role']}"
    rows = {"version": served, **{k: v for k, v in facts.items() if k not in ("model", "version", "role")}}
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        text = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
        label = f"{name.replace('_', ' '):<{width}}"
        console.print(f"[bold]{label}[/]{escape('none' if value is None else text)}", highlight=False, soft_wrap=True)


def _print_comparison(found: list[Difference]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", "then", "now", "", box=box.SIMPLE, header_style="bold")
    for one in found:
        mark = "[green]same[/]" if one.within else "[red]differs[/]"
        table.add_row(one.name, f"{one.logged:.6g}", f"{one.now:.6g}", mark)
    Console().print(table)
    if all(one.within for one in found):
        click.echo(f"the same result: {len(found)} numbers agree within 3 % or 0.01, embeddings within 3 %")
