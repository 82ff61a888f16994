"""What a run writes: parts of two tables, the plan, and a last file that says that all of it is there.

_plan.json                     what the parts depend on
rows/part-00000-PLAN.parquet   the answers; written after the rejects of the same part, so it ends the part
rejects/part-00000-PLAN.parquet   files that could not be read, and why; only where there are any
_SUCCESS                       counts, as JSON
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flows.batch.plan import Plan, difference
from flows.batch.stores import Store
from registry.core.errors import Refused

if TYPE_CHECKING:
    import pyarrow as pa

PLAN, SUCCESS = "_plan.json", "_SUCCESS"  # readers of Parquet folders pass over names with an underscore
ROWS, REJECTS = "rows", "rejects"
PCA = "_pca"
REPEATING = ["label", "version", "class", "kind"]
"""Columns that a dictionary makes smaller. For the others it would only cost."""


class Output:
    """The parts of one plan in a store. Workers write different parts, or the same part with the same content."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store, self.plan = store, plan

    def begin(self, fresh: bool) -> list[int]:
        """Writes the plan. Returns the numbers of the missing parts. `fresh` removes earlier parts.

        Raises:
            Refused: there is another plan, or files of another program.
        """
        there = self.store.names()
        text = self.store.read(PLAN)
        found = Plan.from_json(text.decode()) if text is not None else None
        if found != self.plan:
            self._check(text is not None, found, there, fresh)
        if found != self.plan or fresh:
            self.store.delete([PLAN, SUCCESS])  # first the plan: whoever reads now sees an output without one
            self.store.delete(name for name in there if name in _parts(there) or name.startswith(f"{PCA}/"))
            self._claim()
            there = []
        return [number for number in range(self.plan.parts) if f"{ROWS}/{self.plan.name(number)}" not in set(there)]

    def _check(self, planned: bool, found: Plan | None, there: list[str], fresh: bool) -> None:
        strange = [name for name in there if name.endswith(".parquet") and name not in _parts(there)]
        if strange or (not planned and _parts(there)):
            raise Refused(
                f"{self.store.name} has files that this command has not written: "
                f"{', '.join((strange or _parts(there))[:3])}",
                expected="an empty folder, or one of an earlier run",
                fix="name another folder",
            )
        if planned and not fresh:
            why = difference(found, self.plan) if found else "by another version of this program"
            raise Refused(
                f"{self.store.name} holds the parts of another run: {why}",
                expected="the same version on the same pictures",
                fix="add --fresh to do all of it again, or name another folder",
            )

    def _claim(self) -> None:
        """Of several runs that begin at once with different plans, one gets the place."""
        if not self.store.create(PLAN, self.plan.to_json().encode()):
            text = self.store.read(PLAN) or b""
            if Plan.from_json(text.decode()) != self.plan:
                raise Refused(
                    f"another run has just begun in {self.store.name}", fix="wait for it, or name another folder"
                )

    def write(self, number: int, rows: pa.Table, rejects: pa.Table) -> None:
        """Writes one part. Raises StorageError, MissingService."""
        name = self.plan.name(number)
        if rejects.num_rows:
            self.store.write(f"{REJECTS}/{name}", parquet(rejects))
        self.store.write(f"{ROWS}/{name}", parquet(rows))

    def rows(self, number: int, columns: list[str]) -> pa.Table:
        """Some columns of a part that is written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = self.store.read(f"{ROWS}/{self.plan.name(number)}")
        assert content is not None, f"part {number} is not written"
        return pq.read_table(pa.BufferReader(content), columns=columns)

    def rejected(self) -> int:
        """How many rejects there are, earlier runs' included."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = (self.store.read(name) for name in self.store.names(REJECTS) if self.plan.id in name)
        return sum(pq.read_metadata(pa.BufferReader(content)).num_rows for content in files if content)

    def finish(self, rejected: int) -> None:
        """Removes what late workers of another plan may have written, and says that all is there."""
        there = self.store.names()
        self.store.delete(name for name in _parts(there) if not name.endswith(f"-{self.plan.id}.parquet"))
        counts = {"pictures": self.plan.pictures, "rows": self.plan.pictures - rejected, "rejects": rejected}
        self.store.write(SUCCESS, (json.dumps(counts | {"plan": self.plan.id}) + "\n").encode())


def parquet(table: pa.Table) -> bytes:
    """A Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    repeating = [name for name in REPEATING if name in table.column_names]
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=repeating)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _parts(names: Iterable[str]) -> list[str]:
    """The Parquet parts of any plan."""
    return [name for name in names if name.partition("/")[2].startswith("part-") and name.endswith(".parquet")]
