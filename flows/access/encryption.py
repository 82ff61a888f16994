"""encryption: status, rotate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from registry.core import database
from registry.core.errors import EncryptionError
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings
from registry.encryption import columns, rotation
from registry.encryption.keys import key_file, keyring
from registry.encryption.rotation import KeyIds
from serving.web import configuration


@click.group()
def encryption() -> None:
    """Encryption of what is kept: inputs, labels, uploads, results, answers, and secrets of accounts."""
    configuration.setup()  # the tables of accounts, too
    database.migrate()


@encryption.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """The keys, where they are, and how many files below var and entries of the database need which."""
    files, entries = _counted()
    known = [key.id for key in keyring().keys]
    # What is in the middle of a rotation can be read with either of its keys.
    missing = sorted({one for ids in (*files, *entries) if not ids.intersection(known) for one in ids})
    per_file, per_entry = _per_key(files), _per_key(entries)
    place = "the setting encryption_key" if settings().encryption_key else str(key_file())
    if as_json:
        facts = {
            "keys": place,
            "first": known[0],
            "files": {one: per_file[one] for one in known},
            "entries": {one: per_entry[one] for one in known},
            "missing": {one: per_file[one] + per_entry[one] for one in missing},
        }
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"keys: {place}")
    for one in [*known, *missing]:
        count = f"{one}  {per_file[one]:>9,} files {per_entry[one]:>9,} entries  "
        if one in missing:
            click.secho(f"{count}the key is not here: they cannot be read", fg="red")
        elif one == known[0]:
            click.echo(f"{count}encrypts and decrypts")
        else:
            free = not per_file[one] and not per_entry[one]
            click.echo(f"{count}decrypts{'; may be removed, unless a backup needs it' if free else ''}")


@encryption.command()
def rotate() -> None:
    """Make a new first key, and wrap the data key of every file below var with it. Contents are not written anew.

    Services may run meanwhile. May be stopped and run again: it then goes on, without another new key. With the keys in
    the setting encryption_key, put a new one in front of it and restart the stack first.
    """
    from serving.accounts.encrypted import renew

    files, entries = _counted()
    if rotation.begin([*files, *entries]):
        click.echo(f"new key {keyring().first.id}, now the first of {key_file()}; back that file up")
    else:
        click.echo(f"something still waits for key {keyring().first.id}: going on, without a new key")
    with progress_bar("files", lines=True) as show:
        done, failed = rotation.rotate(settings().var, show)
    secrets, errors = renew()
    kept = 0
    for rows, field in _answers():
        changed, others = columns.rotate(rows, field)
        kept, errors = kept + changed, [*errors, *others]
    key = keyring().first.id
    click.echo(f"{done:,} files are wrapped with key {key} now, {kept:,} answers and {secrets:,} secrets of accounts")
    errors = [*failed.values(), *errors]
    if errors:
        error = errors[0]
        raise EncryptionError(
            f"{len(errors):,} are not: {error.found}", expected=error.expected, fix=f"{error.fix}, or remove it"
        )
    click.echo("older keys stay until you remove them: `visionloop encryption status` says which nothing needs")


def _counted() -> tuple[Counter[KeyIds], Counter[KeyIds]]:
    """How many files, and how many entries of the database, need which keys."""
    from serving.accounts.encrypted import count_by_keys

    entries = count_by_keys()
    for rows, field in _answers():
        entries += columns.count_by_keys(rows, field)
    return rotation.count_by_keys(settings().var), entries


def _answers() -> list[tuple[Any, str]]:
    """The encrypted columns of answers."""
    from monitoring.log.models import Answer
    from serving.idempotency.models import KeyedRequest

    return [(Answer.objects.all(), "sealed"), (KeyedRequest.objects.all(), "body")]


def _per_key(counted: Mapping[KeyIds, int]) -> Counter[str]:
    found = Counter[str]()
    for ids, count in counted.items():
        found.update(dict.fromkeys(ids, count))
    return found
