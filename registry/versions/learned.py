"""Records the inputs that a version learned from, in `learned.parquet` of its bundle. They cannot test it.

A row per input: `content` (the file's sha256), `split` (`train` taught, `val` chose), `origin`. The rows of the version
that it was fine-tuned from are included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from registry.core.errors import BundleError
from registry.core.files import digest_file
from registry.core.media import Case
from registry.versions.bundle import ORIGIN_SLICE, Bundle

LEARNED = "learned.parquet"


@dataclass(frozen=True)
class Learned:
    """What a version learned from.

    Attributes:
        contents: content -> `train` or `val`.
        origins: of those cases.
        recorded: False for a bundle older than these records: `contents` is empty, `origins` are those of its slices.
    """

    contents: dict[str, str] = field(default_factory=dict)
    origins: frozenset[str] = frozenset()
    recorded: bool = True

    def among(self, cases: Iterable[Case]) -> list[str]:
        """The ids of the cases that it learned from, in order."""
        return [case.id for case in cases if content_of(case.input) in self.contents] if self.contents else []


def content_of(path: Path) -> str:
    """Identifies a file by its bytes."""
    return digest_file(path)[:32]


def write(folder: Path, cases: Iterable[Case], parent: Bundle | None) -> None:
    """Writes the record of a version that learned from `cases` and from what `parent` learned from.

    Args:
        cases: the data set's. Those of `test` are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = of(parent) if parent else Learned()
    mine = {content_of(case.input): case for case in cases if case.split != "test"}
    contents = {**before.contents, **{content: case.split for content, case in mine.items()}}
    origins = {content: case.origin for content, case in mine.items()}
    names = sorted(contents)
    columns = {
        "content": names,
        "split": [contents[name] for name in names],
        "origin": [origins.get(name, "") for name in names],
    }
    found = sorted(before.origins | {*origins.values()})
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    pq.write_table(table.replace_schema_metadata({"origins": "\n".join(found)}), folder / LEARNED)


def of(bundle: Bundle) -> Learned:
    """Reads a bundle's record. Raises BundleError if it is damaged."""
    path = bundle.path / LEARNED
    if not path.is_file():
        slices = bundle.manifest.slices
        return Learned(
            {}, frozenset(n.removeprefix(ORIGIN_SLICE) for n in slices if n.startswith(ORIGIN_SLICE)), recorded=False
        )
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        rows = table.to_pydict()
        origins = frozenset((table.schema.metadata or {})[b"origins"].decode().splitlines())
        return Learned(dict(zip(rows["content"], rows["split"], strict=True)), origins)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise BundleError(
            f"{path} cannot be read", expected="what the version learned from", fix="fetch the version again"
        ) from error
