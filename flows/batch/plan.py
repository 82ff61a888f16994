"""The plan of a run: the slices of a listing, and the parts that are written already.

The plan is in the output folder. A run continues the plan that it finds there if version and listing are the same,
since the same parts come out.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.batch.sources import Item, Listing
from registry.core.errors import BadInput, Refused
from registry.core.files import disk_errors, write_file

if TYPE_CHECKING:
    import pyarrow as pa

PLAN, LOCK = "_featurize.json", "_lock"  # readers of Parquet folders pass over names with an underscore
SCHEMA = 1
LEAST, MOST, PARTS = 32, 1024, 16
"""Bounds of the pictures in a part, which has whole batches of `LEAST`. Workers share up to `PARTS` parts."""


@dataclass(frozen=True)
class Plan:
    """All that the parts depend on.

    Attributes:
        version, digest: of the model, e.g. `fruit_features@3`.
        listing: the listing's digest; `pictures`: how many it has.
        part: pictures in each part but the last.
    """

    source: str
    version: str
    digest: str
    listing: str
    pictures: int
    part: int
    schema: int = SCHEMA

    @classmethod
    def of(cls, source: str, version: str, digest: str, listing: Listing) -> Plan:
        count = len(listing.items)
        part = min(MOST, max(1, -(-count // (PARTS * LEAST))) * LEAST)
        return cls(source, version, digest, listing.digest, count, part)

    @property
    def parts(self) -> int:
        return -(-self.pictures // self.part)

    def slice(self, items: Sequence[Item], number: int) -> Sequence[Item]:
        return items[number * self.part : (number + 1) * self.part]


class Output:
    """The folder that parts are written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Makes the folder and locks it against other runs.

        Raises:
            Refused: another run is writing there.
            BadInput: it is a file.
            StorageError: it cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput(f"{self.folder} is a file", expected="a folder for the Parquet parts", fix="name another")
        with disk_errors(self.folder / LOCK):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Refused(
                    f"another run is writing to {self.folder}", fix="wait for it, or name another folder"
                ) from error
            yield

    def begin(self, plan: Plan, fresh: bool) -> list[int]:
        """Writes the plan into the folder. Returns the numbers of the missing parts. `fresh` removes earlier parts.

        Raises:
            Refused: the folder has another plan, or Parquet files of another program.
        """
        found = self.plan()
        left = list(self.folder.glob("*.parquet"))
        if found != plan:
            strange = [path.name for path in left if not path.name.startswith("part-")]
            if strange or (found is None and left):
                raise Refused(
                    f"{self.folder} has files that this command has not written: "
                    f"{', '.join(strange or sorted(path.name for path in left)[:3])}",
                    expected="an empty folder, or one of an earlier run",
                    fix="name another folder",
                )
            if found is not None and not fresh:
                raise Refused(
                    f"{self.folder} holds the parts of another run: {_difference(found, plan)}",
                    expected="the same version on the same pictures",
                    fix="add --fresh to do all of it again, or name another folder",
                )
            self._empty()
            write_file(self.folder / PLAN, json.dumps(asdict(plan), indent=2) + "\n")
        elif fresh:
            self._empty()
        with suppress(OSError):
            for draft in self.folder.glob(".part-*"):  # of a run that was killed
                draft.unlink()
        return [number for number in range(plan.parts) if not self.path(number).is_file()]

    def plan(self) -> Plan | None:
        """The plan of an earlier run. None if there is no readable one."""
        try:
            return Plan(**json.loads((self.folder / PLAN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _empty(self) -> None:
        with disk_errors(self.folder / PLAN):
            for path in self.folder.glob("part-*.parquet"):
                path.unlink()

    def write(self, number: int, table: pa.Table) -> None:
        """Writes one part atomically. Raises StorageError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        # Features do not repeat: a dictionary would only cost.
        pq.write_table(
            table, sink, compression="zstd", compression_level=1, use_dictionary=["label", "class", "version"]
        )
        write_file(self.path(number), sink.getvalue().to_pybytes())


def _difference(found: Plan, plan: Plan) -> str:
    if found.source != plan.source:
        return f"of {found.source}, not {plan.source}"
    if (found.version, found.digest) != (plan.version, plan.digest):
        return f"with {found.version}, not {plan.version}" + (" (registered anew)" * (found.version == plan.version))
    if found.listing != plan.listing:
        return f"the pictures have changed since ({found.pictures} then, {plan.pictures} now)"
    return "by another version of this program"
