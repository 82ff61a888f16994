"""backup, restore, migrate-db: an installation as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from registry.core.progress_bar import progress_bar
from registry.core.settings import settings


@click.command()
@click.argument("to", type=click.Path(path_type=Path))
@click.option("--no-keys", is_flag=True, help="Without the encryption keys: keep those elsewhere.")
def backup(to: Path, no_keys: bool) -> None:
    """Copy the whole installation to TO: a tar if the name ends in .tar, else a folder. The stack may run.

    Holds the databases, MLflow's artifacts, Bentos, data versions, kept inputs and uploads, and the keys.
    """
    from flows.installation.backup import backup as run

    with progress_bar("files") as show:
        made = run(to, keys=not no_keys, on_progress=show)
    size = sum(entry.size for entry in made.files.values())
    click.echo(f"{to}: {len(made.files):,} files, {size / 1e6:,.1f} MB, {sum(made.tables.values()):,} rows")
    for missing in made.elsewhere:
        click.echo(f"not in it: {missing}")
    if made.has_keys:
        click.echo("it has the encryption keys: whoever reads it can read everything (--no-keys leaves them out)")


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
def restore(source: Path) -> None:
    """Make this installation what the backup FROM holds. The stack must not run, and var must be empty.

    Every file is checked before anything changes. If it is interrupted, run it again.
    """
    from flows.installation.restore import restore as run

    with progress_bar("bytes") as show:
        made = run(source, on_progress=show)
    click.echo(f"restored {source} of {made.created}: {len(made.files):,} files, {sum(made.tables.values()):,} rows")
    for name in sorted((settings().var / "restored-project").glob("*")):
        ours = settings().root / name.name
        if not ours.is_file() or ours.read_bytes() != name.read_bytes():
            click.echo(f"{name.name} was another one; the backup's is {name}")
    click.echo("`visionloop up` starts it")


@click.command("migrate-db")
@click.argument("to_url")
def migrate_db(to_url: str) -> None:
    """Copy the operational database to TO_URL: from SQLite to PostgreSQL, or back. The stack must not run.

    TO_URL is written as the setting database_url, and names an empty database. Each row is compared. The old database
    stays as it is. If it is interrupted, run it again.
    """
    from flows.installation.moving import move

    with progress_bar("tables") as show:
        done = 0

        def on_table(table: str, rows: int) -> None:
            nonlocal done
            done += 1
            show(done, 0, f"{table}: {rows:,}")

        found = move(to_url, on_table)
    for table, one in sorted(found.items()):
        if one.rows:
            click.echo(f"{table:<32} {one.rows:>12,} rows  sha256 {one.digest[:16]}")
    click.echo(f"{sum(one.rows for one in found.values()):,} rows in {len(found)} tables, the same on both sides")
    click.echo(
        "now set database_url to that address (visionloop.toml, or VISIONLOOP_DATABASE_URL), and `visionloop up`"
    )
