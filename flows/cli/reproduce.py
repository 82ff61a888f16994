"""`visionloop reproduce`: prints what made a served result, computes it again and compares."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import prepare
from registry.core import database
from registry.core.errors import Refused
from registry.core.settings import settings

if TYPE_CHECKING:
    from flows.steps.reproduce import Difference, Provenance


@click.command()
@click.argument("prediction")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--local", is_flag=True, help="Without a server: MLflow's database directly.")
def reproduce(prediction: str, as_json: bool, local: bool) -> None:
    """Show what made the result of PREDICTION (an id), compute it again and compare.

    Exit code 4: the prediction is unknown, or its input is no longer kept. 7: the result is another one.
    """
    prepare(local, needs_stack=not settings().mlflow_uri)
    from flows.steps.reproduce import run_again, trace
    from registry.versions.mlflow_registry import Versions

    database.migrate()
    origin = trace(prediction, Versions())
    if not as_json:
        _print_facts(_facts(origin))
    found = run_again(origin)
    off = [one for one in found if not one.within]
    if as_json:
        verdict = {"same": not off, "comparison": [_finite(one) for one in found]}
        click.echo(json.dumps({**_facts(origin), **verdict}, indent=2))
    else:
        _print_comparison(found)
    if off:
        raise Refused(
            f"another result: {len(off)} of {len(found)} numbers differ, {off[0].name} most visibly "
            f"({off[0].logged:.5g} then, {off[0].now:.5g} now)",
            expected="the same numbers within 3 % or 0.01, embeddings within 3 %",
            fix="compare the engine, its numerics and the CPU with those of the service that answered",
        )


def _finite(one: Difference) -> dict[str, Any]:
    """JSON has no NaN and no infinity: both become null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in one.__dict__.items()}


def _facts(origin: Provenance) -> dict[str, Any]:
    """What made it, for programs. Times are ISO 8601; null stands for what is absent."""
    row, manifest = origin.row, origin.bundle.manifest
    return {
        "prediction": row.id,
        "time": row.time.isoformat(),
        "caller": row.caller,
        "status": row.status,
        "outcome": row.outcome,
        "elapsed_ms": row.latency_ms,
        "model": row.model,
        "version": row.version,
        "role": row.role,
        "bento": origin.bento or None,
        "bundle": origin.bundle.digest,
        "data": manifest.data_hash,
        "code": manifest.git_commit,
        "trained": manifest.created,
        "started_from": manifest.pretrained,
        "parent": {"version": manifest.parent.version, "digest": manifest.parent.digest} if manifest.parent else None,
        "engine": manifest.engine,
        "numerics": manifest.numerics,
        "network": manifest.network,
        "preprocessing": dict(manifest.preprocessing),
        "thresholds": dict(manifest.thresholds),
        "mlflow_run": origin.version.run_id,
        "input": str(origin.input) if origin.input else None,
    }


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
