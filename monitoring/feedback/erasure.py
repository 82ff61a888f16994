"""Deletes all that is kept of a prediction, for the person whom its input shows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitoring.feedback.labels import LEFT_OUT
from monitoring.feedback.performance import input_file, truth_file

if TYPE_CHECKING:
    from monitoring.log.models import Prediction


@dataclass(frozen=True)
class Erased:
    """What there was.

    Attributes:
        case_origin: where the label had become a case of the data set, that case's origin; the case stays.
    """

    input: bool
    answer: bool
    label: bool
    case_origin: str


def erase(row: Prediction) -> Erased:
    """Deletes the prediction's row with its statistics, embedding, answer and label, and the files of input and label.

    Files first: where the database fails, a second call does the rest.
    """
    label = getattr(row, "feedback", None)
    origin = label.origin if label is not None and label.origin != LEFT_OUT else ""
    had_input = False
    for path in (input_file(row), truth_file(row)):
        with suppress(FileNotFoundError):
            path.unlink()
            had_input = had_input or path == input_file(row)
    erased = Erased(had_input, getattr(row, "answer", None) is not None, label is not None, origin)
    row.delete()
    return erased
