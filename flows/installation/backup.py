"""`visionloop backup`: a copy of all that an installation knows, taken while it runs.

The database comes before the files: each file that a row names was there before the row. What is on its way into the
database is copied before it (`contents.FIRST`), keys after all others.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from flows.installation import contents, mlflow_tables, tables
from flows.installation.archive import Manifest, Writer, writing
from registry.buckets.client import is_bucket
from registry.core import database
from registry.core.settings import Settings, settings
from registry.encryption.keys import keyring
from serving.web import configuration

OnProgress = Callable[[float, float, str], None]
"""Called with (files copied, files in all, name)."""
_SQLITE = b"SQLite format 3\0"


def backup(to: Path, *, keys: bool = True, on_progress: OnProgress = lambda done, total, note: None) -> Manifest:
    """Writes a backup: a tar if the name ends in .tar, else a folder. Returns its manifest.

    Args:
        keys: whether the encryption keys and the sessions' secret are in it.

    Raises:
        Refused: `to` exists already, or is inside `var`.
        MissingService: a database does not answer.
        StorageError: the disk is full. Nothing is left there.
    """
    config = settings()
    configuration.setup()
    database.migrate()
    ids = [one.id for one in keyring().keys]
    with writing(to, config.var) as (out, finished), tempfile.TemporaryDirectory(dir=to.absolute().parent) as scratch:
        copier = _Copier(out, config, Path(scratch), on_progress)
        ours, mlflow = _file_of_ours(config), _file_of_mlflow()
        copier.add(contents.on_their_way(config.var))
        migrations, rows = copier.database(ours)
        revision = copier.mlflow(mlflow)
        copier.add(contents.files(config.var, frozenset(one for one in (ours, mlflow) if one), keys=keys))
        copier.remote()
        copier.project()
        has_keys = keys and not config.encryption_key and config.encryption_key_path.is_relative_to(config.var)
        finished.append(
            Manifest(
                created=datetime.now(UTC).isoformat(timespec="seconds"), program=version("visionloop"),
                var=str(config.var), migrations=migrations, mlflow=revision, tables=rows, keys=ids, has_keys=has_keys,
                elsewhere=elsewhere(config, has_keys),
            )
        )  # fmt: skip
    return finished[0]


def elsewhere(config: Settings, has_keys: bool) -> list[str]:
    """What a backup does not hold, in words."""
    found = ["Prefect's history of runs"]
    if not mlflow_tables.address():
        found.append(f"MLflow's runs and versions, at {config.mlflow_uri}")
    if is_bucket(config.remote):
        found.append(f"the data versions, at {config.remote}")
    if not has_keys:
        found.append("the encryption keys")
    return found


def _file_of_ours(config: Settings) -> Path | None:
    entry = database.database_entry(config.database)
    return Path(entry["NAME"]) if entry["ENGINE"].endswith("sqlite3") else None


def _file_of_mlflow() -> Path | None:
    address = mlflow_tables.address()
    return mlflow_tables.file_of(address) if address else None


def copy_sqlite(source: Path, target: Path) -> None:
    """A copy of one state of a database that others write to meanwhile: https://sqlite.org/backup.html."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=60)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it


class _Copier:
    def __init__(self, out: Writer, config: Settings, scratch: Path, on_progress: OnProgress) -> None:
        self._out, self._config, self._scratch, self._show = out, config, scratch, on_progress

    def add(self, paths: list[Path]) -> None:
        """Files below `var`. Databases that are among them are copied as databases."""
        for number, path in enumerate(paths):
            self._file(f"var/{path.relative_to(self._config.var).as_posix()}", path)
            self._show(number + 1, len(paths), path.name)

    def _file(self, name: str, path: Path) -> None:
        try:
            with path.open("rb") as file:
                is_database = file.read(len(_SQLITE)) == _SQLITE
        except FileNotFoundError:
            return
        if is_database:
            copy = self._scratch / "other.db"
            copy.unlink(missing_ok=True)
            copy_sqlite(path, copy)
            path = copy
        self._out.add(name, path)

    def database(self, file: Path | None) -> tuple[list[str], dict[str, int]]:
        """The operational database as an SQLite file, whatever its engine is. Returns migrations and rows."""
        from django.db import connections

        copy = self._scratch / contents.DATABASE
        if file:
            copy_sqlite(file, copy)
        with tables.other_database(f"sqlite:///{copy}") as other:
            if not file:
                tables.make_tables(other)
                tables.copy(tables.HERE, other)
            with connections[other].cursor() as cursor:
                cursor.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id")
                migrations = [row[0] for row in cursor.fetchall()]
            rows = tables.filled(other)
        self._out.add(contents.DATABASE, copy)
        return migrations, rows

    def mlflow(self, file: Path | None) -> str:
        """MLflow's database likewise. Returns its schema; "" where MLflow is elsewhere, or was never used."""
        address = mlflow_tables.address()
        if not address or (file and not file.is_file()):
            return ""
        copy = self._scratch / contents.MLFLOW
        if file:
            copy_sqlite(file, copy)
        else:
            mlflow_tables.copy(address, f"sqlite:///{copy}")
        self._out.add(contents.MLFLOW, copy)
        return mlflow_tables.revision(f"sqlite:///{copy}")

    def remote(self) -> None:
        """DVC's remote, where a setting has put it into a folder outside `var`."""
        root = Path(self._config.remote)
        if "://" in self._config.remote or root.is_relative_to(self._config.var) or not root.is_dir():
            return
        for path in sorted(one for one in root.rglob("*") if one.is_file()):
            self._out.add(f"var/dvc-remote/{path.relative_to(root).as_posix()}", path)

    def project(self) -> None:
        for name in contents.PROJECT:
            self._out.add(f"project/{name}", self._config.root / name)
