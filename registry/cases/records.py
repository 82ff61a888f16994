"""Records that data sets exchange: labelled inputs, results of imports and additions, data checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STREAM_SEED = 0x5EED
"""First part of a stream's seed: no stream repeats the starter data, whatever the seeds."""

MOST_NAMED = 12


@dataclass(frozen=True)
class Check:
    """One Great Expectations expectation over the table that `DataPart.inspect` makes.

    Attributes:
        expectation: the field's own name, e.g. `expect_column_values_to_be_between`.
        arguments: its keyword arguments.
        says: what a breach means, for people; `{rows}` is replaced by the ids of the cases.
        fix: what to do about it.
        warning: a breach is reported, but stops nothing.
    """

    expectation: str
    arguments: Mapping[str, Any]
    says: str
    fix: str
    warning: bool = False


@dataclass(frozen=True)
class ImportResult:
    """The result of an import: cases in each split, and inputs without a label, which are kept for prediction."""

    train: int
    val: int
    test: int
    unlabelled: int
    notes: tuple[str, ...] = ()


def not_learnt(missing: Sequence[str], classes: int) -> str:
    """A line about classes without a training case; "" if there is none."""
    if not missing:
        return ""
    names = ", ".join(missing[:MOST_NAMED]) + (" ..." if len(missing) > MOST_NAMED else "")
    return f"no training picture of {len(missing)} of the {classes} classes, which cannot be learnt: {names}"


@dataclass(frozen=True)
class LabelledInput:
    """An input and its label. `input`: the uploaded bytes, or what reads them when they are needed."""

    id: str
    input: bytes | Callable[[], bytes]
    truth: bytes | str

    @property
    def body(self) -> bytes:
        """The input's bytes. Raises OSError if its file is gone."""
        return self.input if isinstance(self.input, bytes) else self.input()


@dataclass(frozen=True)
class AddResult:
    """The result of adding labelled inputs.

    Attributes:
        new: how many became cases.
        refused: `id: problem` for each that could not.
    """

    new: int
    refused: tuple[str, ...] = ()
