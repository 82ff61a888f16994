"""`make demo FRESH=1`: deletes what earlier runs left, but asks before it deletes anything of other models."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing, suppress

import click
from rich.console import Console

from flows.stack import layout, ports
from flows.stack.control import Stack
from flows.steps import data_versions
from registry.contract import catalog
from registry.core.errors import Refused
from registry.core.settings import settings

KEPT_PER_MODEL = ("bundles", "decisions", "inputs", "reports")
"""Folders of `var` with one folder per model."""


def reset(models: Sequence[str], console: Console, *, sure: bool) -> None:
    """Stops the stack and empties var/ and the data and build folders of these models.

    Raises:
        Refused: that would delete something of other models, or API keys, and nobody confirmed it.
        SettingsError: a port is busy, so that the stack could not be started afterwards. Nothing is deleted.
    """
    lost = others_data(models)
    if lost and not sure:
        text = f"a fresh start deletes all of {settings().var}, with {', '.join(lost)}"
        if not sys.stdin.isatty():
            raise Refused(
                text,
                expected=f"a folder with nothing but {' and '.join(models)}",
                fix="add --yes (make demo FRESH=1 YES=1), or give the demo a var of its own: VISIONLOOP_VAR=<folder>",
            )
        if not click.confirm(f"{text}. Go on?"):
            raise Refused("nothing was deleted")
    Stack().down()
    ports.check(settings().host, [layout.home(settings()), *layout.specs(settings())])
    console.print("deleting versions, predictions and data of this folder", style="dim")
    for model in models:
        recorded = data_versions.recorded(model)
        shutil.rmtree(settings().build / model, ignore_errors=True)
        if not catalog.get(model).data.has_starter:
            continue  # its data could not be drawn again
        if recorded and (settings().data / model).is_dir():
            console.print(f"  data/{model} stays in DVC's cache under {recorded}", style="dim")
        shutil.rmtree(settings().data / model, ignore_errors=True)
    shutil.rmtree(settings().var, ignore_errors=True)
    (settings().root / "dvc.lock").unlink(missing_ok=True)


def others_data(models: Sequence[str]) -> list[str]:
    """What `var` holds of other models, and API keys, in words."""
    var = settings().var
    names = {path.name for name in KEPT_PER_MODEL for path in (var / name).glob("*") if path.is_dir()}
    found = [f"versions and predictions of {name}" for name in sorted(names & set(catalog.names()) - set(models))]
    # The keys that the pages made for themselves, and the first administrator, come back by themselves.
    own = "select key from accounts_accountkey where for_pages"
    keys = _count(f"select count(*) from access_key where owner <> 'web application' and id not in ({own})")
    if keys is None:  # a database from before there were accounts
        keys = _count("select count(*) from access_key")
    people = _count("select count(*) from accounts_user where email <> 'admin@localhost'")
    counted = ((keys, "API key"), (people, "account"))
    return found + [f"{number} {what}{'s' if number > 1 else ''}" for number, what in counted if number]


def _count(query: str) -> int | None:
    """None: the database is not there, or has no such table."""
    database = settings().var / "visionloop.db"
    if database.is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(query).fetchone()[0])
    return None
