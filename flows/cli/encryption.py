"""encryption: status, rotate."""

from __future__ import annotations

import json
from collections import Counter

import click

from registry.core.errors import EncryptionError
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings
from registry.encryption import rotation
from registry.encryption.keys import key_file, keyring


@click.group()
def encryption() -> None:
    """Encryption of what is kept: inputs, labels, uploads, and results."""


@encryption.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """The keys, where they are, and how many files below var need which."""
    ring = keyring()
    counted = rotation.count_by_keys(settings().var)
    known = [key.id for key in ring.keys]
    per_key = Counter[str]()
    for ids, files in counted.items():
        per_key.update(dict.fromkeys(ids, files))
    needed = {one: per_key[one] for one in known}
    # A file in the middle of a rotation can be read with either of its keys.
    missing = {one: per_key[one] for ids in counted if not ids.intersection(known) for one in sorted(ids)}
    place = "the setting encryption_key" if settings().encryption_key else str(key_file())
    if as_json:
        facts = {"keys": place, "first": ring.first.id, "files": needed, "files_without_key": missing}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"keys: {place}")
    for number, (one, files) in enumerate(needed.items()):
        role = "encrypts and decrypts" if number == 0 else "decrypts"
        free = "; may be removed, unless a backup needs it" if number and not files else ""
        click.echo(f"{one}  {files:>9,} files  {role}{free}")
    for one, files in missing.items():
        click.secho(f"{one}  {files:>9,} files  the key is not here: they cannot be read", fg="red")


@encryption.command()
def rotate() -> None:
    """Make a new first key, and wrap the data key of every file below var with it. Contents are not written anew.

    Services may run meanwhile. May be stopped and run again: it then goes on, without another new key. With the keys in
    the setting encryption_key, put a new one in front of it and restart the stack first.
    """
    ours = settings()
    if rotation.begin(ours.var):
        click.echo(f"new key {keyring().first.id}, now the first of {key_file()}; back that file up")
    else:
        click.echo(f"files still wait for key {keyring().first.id}: going on, without a new key")
    with progress_bar("files", lines=True) as show:
        done, failed = rotation.rotate(ours.var, show)
    click.echo(f"{done:,} files are wrapped with key {keyring().first.id} now")
    if failed:
        error = next(iter(failed.values()))
        raise EncryptionError(
            f"{len(failed):,} files are not: {error.found}", expected=error.expected, fix=f"{error.fix}, or remove it"
        )
    click.echo("older keys stay until you remove them: `visionloop encryption status` says which no file needs")
