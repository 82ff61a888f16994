"""`visionloop restore`: an installation as a backup has it.

Nothing is half restored. All files are written to `var/.restoring` and checked; a database elsewhere is filled in one
transaction. Only then do the files move to their places. A restore that is killed before leaves `var` as it was; one
that is killed while files move is finished by the same command, and `visionloop up` waits for that (`unfinished`).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flows.installation import contents, mlflow_tables, tables
from flows.installation.archive import Backup, Manifest
from flows.installation.moving import require_alone, require_stopped
from flows.stack.places import RESTORING
from registry.core import database
from registry.core.errors import BadInput, MissingKey, Refused
from registry.core.files import disk_errors, require_free_space
from registry.core.settings import Settings, settings
from registry.encryption.keys import keyring
from serving.web import configuration

OnProgress = Callable[[float, float, str], None]
"""Called with (bytes written, bytes in all, note)."""
_CHECKED = "checked"
"""A file in `var/.restoring`: everything is there and right. It names the backup."""


def restore(source: Path, *, on_progress: OnProgress = lambda done, total, note: None) -> Manifest:
    """Puts a backup into the places that the settings name. Returns its manifest.

    Raises:
        Refused: the stack runs, something is there already, or a newer version made the backup.
        BadInput: the backup is incomplete or damaged.
        MissingKey: it has no encryption keys, and those here are others.
        MissingService: a database does not answer.
        StorageError: the disk is full. Nothing has changed then.
    """
    config, backup = settings(), Backup(source)
    require_stopped("a restore replaces what it uses")
    draft = config.var / RESTORING
    ready = _is_ready(draft, backup.manifest)
    if not ready:
        shutil.rmtree(draft, ignore_errors=True)  # of a restore that was killed
        _require_empty(config)
    _require_keys(config, backup.manifest)
    configuration.setup()
    _require_known(backup.manifest)
    if not ready:
        try:
            _extract(backup, draft, on_progress)
            _fill_in_places(config, draft, backup.manifest)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        os.sync()
        (draft / _CHECKED).write_text(backup.manifest.to_json(), encoding="utf-8")
    try:
        _fill(config, draft)
    except Refused:
        if not ready:  # else some files may have moved already
            shutil.rmtree(draft, ignore_errors=True)
        raise
    _move(config, draft)
    return backup.manifest


def _is_ready(draft: Path, manifest: Manifest) -> bool:
    try:
        return (draft / _CHECKED).read_text(encoding="utf-8") == manifest.to_json()
    except FileNotFoundError:
        return False


def _require_empty(config: Settings) -> None:
    found = contents.used(config.var)
    if found:
        raise Refused(
            f"{config.var} is not empty: it has {', '.join(found[:4])}{' and more' if len(found) > 4 else ''}",
            expected="an empty var; a restore adds to nothing and deletes nothing",
            fix=f"move it away (mv {config.var} {config.var}.before), or set VISIONLOOP_VAR",
        )
    file = database.database_entry(config.database)
    if file["ENGINE"].endswith("sqlite3") and Path(file["NAME"]).is_file():
        raise Refused(f"there is a database {file['NAME']}", expected="none", fix="move it away")
    mlflow = mlflow_tables.address()
    path = mlflow_tables.file_of(mlflow) if mlflow else None
    if path and path.is_file():
        raise Refused(f"there is a database of MLflow's, {path}", expected="none", fix="move it away")


def _require_keys(config: Settings, manifest: Manifest) -> None:
    """The files of the backup must be readable afterwards."""
    given = bool(config.encryption_key or config.encryption_key_file)
    path = config.encryption_key_path
    here = {one.id for one in keyring().keys} if given or path.is_file() else set()
    if manifest.has_keys and not given:
        if here - set(manifest.keys):
            raise Refused(
                f"{path} holds another installation's encryption key",
                expected="no key file; the backup has its own",
                fix="move it away, if nothing needs it",
            )
        return
    missing = [one for one in manifest.keys if one not in here]
    if missing:
        raise MissingKey(
            f"the backup's files need the encryption key {missing[0]}, which is not here",
            expected="the keys of the installation that was backed up",
            fix="unset encryption_key and encryption_key_file: the backup has its keys"
            if manifest.has_keys
            else f"put its key file at {path}, or set encryption_key",
        )


def _require_known(manifest: Manifest) -> None:
    """Raises Refused for a database that a newer version has made."""
    from django.db.migrations.loader import MigrationLoader

    known = {f"{app}.{name}" for app, name in MigrationLoader(None, ignore_no_migrations=True).disk_migrations}
    strange = [one for one in manifest.migrations if one not in known]
    if strange or (manifest.mlflow and not mlflow_tables.knows(manifest.mlflow)):
        what = f"the migration {strange[0]}" if strange else f"MLflow's schema {manifest.mlflow}"
        raise Refused(
            f"the backup's database is newer than this program: it has {what}",
            expected=f"a database that visionloop of here knows; the backup is from {manifest.program}",
            fix="restore it with the version that made it, or a newer one",
        )
    if manifest.mlflow and not mlflow_tables.address():
        raise Refused(
            f"the backup has MLflow's database, and mlflow_uri is a server elsewhere ({settings().mlflow_uri})",
            expected="an MLflow of this installation",
            fix="unset mlflow_uri; mlflow_backend may name a PostgreSQL database",
        )


def _extract(backup: Backup, draft: Path, on_progress: OnProgress) -> None:
    total, done = sum(entry.size for entry in backup.manifest.files.values()), 0
    require_free_space(draft.parent, total // 10**6 + 10)
    with disk_errors(draft):
        draft.mkdir(parents=True, mode=0o700)
    for size in backup.extract(draft):
        done += size
        on_progress(done, total, "")


def _fill_in_places(config: Settings, draft: Path, manifest: Manifest) -> None:
    """Brings the copies of both databases up to date, and writes this installation's places into that of MLflow."""
    with tables.other_database(f"sqlite:///{draft / contents.DATABASE}") as other:
        from django.db import connections

        with connections[other].cursor() as cursor:
            found = cursor.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise BadInput(f"the backup's database is damaged: {found}", fix="take another backup")
        tables.make_tables(other)
    if manifest.mlflow:
        copy = draft / contents.MLFLOW
        with mlflow_tables.opened(f"sqlite:///{copy}"):
            pass
        mlflow_tables.move_artifacts(copy, Path(manifest.var).as_uri(), config.var.as_uri())


def _fill(config: Settings, draft: Path) -> None:
    """Fills databases that are not files. Each is one transaction; after a kill it is here again, and is then full."""
    entry = database.database_entry(config.database)
    if not entry["ENGINE"].endswith("sqlite3") and (draft / contents.DATABASE).is_file():
        require_alone(tables.HERE)
        database.migrate()
        with tables.other_database(f"sqlite:///{draft / contents.DATABASE}") as other:
            if tables.contents(other) != tables.contents(tables.HERE):
                tables.require_empty(tables.HERE, "the database at database_url")
                tables.copy(other, tables.HERE)
    address = mlflow_tables.address()
    if address and not mlflow_tables.file_of(address) and (draft / contents.MLFLOW).is_file():
        mlflow_tables.fill(f"sqlite:///{draft / contents.MLFLOW}", address)


def _move(config: Settings, draft: Path) -> None:
    """Moves everything to its place. May be killed and called again."""
    from django.db import connections

    connections.close_all()
    entry = database.database_entry(config.database)
    mlflow = mlflow_tables.address()
    targets = {
        contents.DATABASE: Path(entry["NAME"]) if entry["ENGINE"].endswith("sqlite3") else None,
        contents.MLFLOW: mlflow_tables.file_of(mlflow) if mlflow else None,
    }
    with disk_errors(config.var):
        for path in sorted((draft / "var").iterdir()) if (draft / "var").is_dir() else ():
            _put(path, config.var / path.name)
        if (draft / "project").is_dir():
            _put(draft / "project", config.var / "restored-project")
        for name, target in targets.items():
            if target and (draft / name).is_file():
                _put(draft / name, target)
        shutil.rmtree(draft)


def _put(path: Path, target: Path) -> None:
    """Renames; to another disk it copies first. What stands there is what setting this program up has made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV or path.is_dir():
            raise
        aside = target.with_name(f".{target.name}.restoring")
        shutil.copy2(path, aside)
        os.replace(aside, target)
        path.unlink()
