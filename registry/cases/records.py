"""What goes into a data set and what came of it: labelled inputs, imports, and what must hold of the table of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STREAM_SEED = 0x5EED
"""First part of a stream's seed: no stream repeats the starter data, whatever the seeds."""


@dataclass(frozen=True)
class Check:
    """One Great Expectations expectation over the table that `DataPart.inspect` makes.

    Attributes:
        expectation: the field's own name, e.g. `expect_column_values_to_be_between`.
        arguments: its keyword arguments.
        says: what a breach means, for a person; `{rows}` is replaced by the offending case ids.
        fix: what to do about it.
        warning: a breach is told, and stops nothing.
    """

    expectation: str
    arguments: Mapping[str, Any]
    says: str
    fix: str
    warning: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What an import took: cases per split, and inputs without a label (kept for prediction only)."""

    train: int
    val: int
    test: int
    unlabelled: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledInput:
    """An input and its label, to be added to a data set: the raw bytes as they were uploaded, or the file that holds
    them, which is read when it is needed."""

    id: str
    input: bytes | Path
    truth: bytes | str

    @property
    def body(self) -> bytes:
        """The input's bytes. Raises OSError if its file is gone."""
        return self.input if isinstance(self.input, bytes) else self.input.read_bytes()


@dataclass(frozen=True)
class AddResult:
    """What became of labelled inputs.

    Attributes:
        new: how many became cases.
        refused: what is wrong with each that cannot be one, as `id: problem`.
    """

    new: int
    refused: tuple[str, ...] = ()
