"""Copies MLflow's database between engines, as `tables` does with ours; by SQLAlchemy, with MLflow's own tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.installation.tables import Contents
from registry.core.errors import DataError, MissingService, Refused, first_line
from registry.core.settings import settings
from registry.versions.mlflow_client import allow_percent

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData, Table

_MADE_BY_MLFLOW = ("experiments", "workspaces")
"""Tables that get a row when MLflow makes them."""
_PLACES = ("artifact_location", "artifact_uri", "source", "storage_location")
"""Columns with an address of artifacts, which is a path of this machine where MLflow ran without a server."""


def address() -> str:
    """MLflow's database where this installation keeps it; "" where a tracking server elsewhere does."""
    given = settings().mlflow_uri
    return "" if given.startswith("http") else given or settings().mlflow_store


def file_of(url: str) -> Path | None:
    """The file of an SQLite database; None for another engine."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def head() -> str:
    """The newest schema that the installed MLflow knows."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    allow_percent()
    return _get_latest_schema_revision()


def knows(revision: str) -> bool:
    """Whether the installed MLflow can read, or upgrade, a database of this schema."""
    from mlflow.store.db import utils

    allow_percent()
    script = utils.ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return revision in {one.revision for one in script.walk_revisions()}


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The database with its tables as the installed MLflow wants them; makes or upgrades them.

    Raises:
        MissingService: it does not answer.
    """
    from mlflow.store.db import utils
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    allow_percent()
    engine = create_engine(url)
    try:
        try:
            utils._safe_initialize_tables(engine)
            if utils._get_schema_version(engine) != head():
                utils._upgrade_db(engine)
        except SQLAlchemyError as error:
            raise MissingService(
                f"MLflow's database does not answer: {first_line(error)}",
                expected="a database at mlflow_backend, and the user and password of its owner",
                fix="start it, or correct VISIONLOOP_MLFLOW_BACKEND",
            ) from error
        yield engine
    finally:
        engine.dispose()


def revision(url: str) -> str:
    """The schema of a database; "" for one without tables."""
    from mlflow.store.db.utils import _get_schema_version
    from sqlalchemy import create_engine

    engine = create_engine(url)
    try:
        return _get_schema_version(engine) or ""
    finally:
        engine.dispose()


def fill(source: str, target: str) -> None:
    """Copies into an empty database, unless that was done already. Raises Refused if it has other rows."""
    with opened(source) as old, opened(target) as new, old.connect() as reader, new.connect() as there:
        every = _metadata().sorted_tables
        found = {table.name: _contents(there, table) for table in every}
        if found == {table.name: _contents(reader, table) for table in every}:
            return
    used = [f"{name} ({one.rows:,} rows)" for name, one in found.items() if one.rows and name not in _MADE_BY_MLFLOW]
    if used:
        raise Refused(
            f"MLflow's database is not empty: {', '.join(used[:3])}",
            expected="a database without runs and versions",
            fix="make an empty one, and name it in mlflow_backend",
        )
    copy(source, target)


def copy(source: str, target: str) -> dict[str, Contents]:
    """Copies all rows, compares them, and sets the sequences, in one transaction. The target is empty.

    Raises:
        DataError: the rows came out otherwise; the target is as it was.
        MissingService: a database does not answer.
    """
    from sqlalchemy import insert, select
    from sqlalchemy.exc import SQLAlchemyError

    every = _metadata().sorted_tables
    with opened(source) as old, opened(target) as new:
        reader = old.connect().execution_options(
            isolation_level="REPEATABLE READ" if old.dialect.name == "postgresql" else "SERIALIZABLE"
        )
        with reader, reader.begin(), new.begin() as writer:
            try:
                for table in reversed(every):
                    writer.execute(table.delete())
                for table in every:
                    for rows in reader.execute(select(table)).mappings().partitions(500):
                        writer.execute(insert(table), [dict(row) for row in rows])
                _set_sequences(writer, every)
            except SQLAlchemyError as error:
                raise DataError(f"the new database does not take MLflow's rows: {first_line(error)}") from error
            found = {table.name: _contents(reader, table) for table in every}
            for table in every:
                if _contents(writer, table) != found[table.name]:
                    raise DataError(
                        f"the copy of MLflow's table {table.name} differs",
                        expected="the same rows on both sides",
                        fix="the new database is as it was; run the command again, and report this if it stays",
                    )
    return found


def move_artifacts(database: Path, before: str, after: str) -> None:
    """Writes a new place of the artifacts into a database, where MLflow has noted the old one as file:///..."""
    from sqlalchemy import create_engine, func, update

    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.begin() as connection:
            for table in _metadata().sorted_tables:
                for name in _PLACES:
                    if name in table.columns:
                        column = table.columns[name]
                        connection.execute(
                            update(table)
                            .where(column.startswith(before, autoescape=True))
                            .values({name: func.replace(column, before, after)})
                        )
    finally:
        engine.dispose()


def _metadata() -> MetaData:
    import mlflow.store.db.utils  # noqa: F401  (it imports every table)
    from mlflow.store.db.base_sql_model import Base

    found: MetaData = Base.metadata
    return found


def _contents(connection: Any, table: Table) -> Contents:
    from sqlalchemy import select

    rows, digest = 0, 0
    for row in connection.execute(select(table)):
        plain = json.dumps(
            [one.hex() if isinstance(one, bytes | memoryview | float) else one for one in row], default=str
        )
        rows, digest = rows + 1, digest + int.from_bytes(hashlib.sha256(plain.encode()).digest(), "big")
    return Contents(rows, f"{digest % 2**256:064x}")


def _set_sequences(connection: Any, every: list[Table]) -> None:
    """Makes PostgreSQL go on with numbers behind those that were copied."""
    from sqlalchemy import text

    if connection.dialect.name != "postgresql":
        return
    for table in every:
        for column in table.primary_key.columns:
            if column.type.python_type is int:
                name = connection.scalar(
                    text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
                )
                if name:
                    last = f'SELECT coalesce(max("{column.name}"), 0) + 1 FROM "{table.name}"'
                    connection.execute(text(f"SELECT setval(:name, ({last}), false)"), {"name": name})
