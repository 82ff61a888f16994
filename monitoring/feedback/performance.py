"""Stores and scores labels that are given later.

A label is kept beside its input and removed with it (monitoring.log.inputs); its score stays.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from monitoring.feedback import label_check
from monitoring.log import inputs
from registry.cases.records import LabelledInput
from registry.core import database
from registry.core.errors import BadInput, MissingKey, NotFound, VisionloopError, first_line
from registry.core.settings import settings
from registry.versions.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from monitoring.drift.tables import Row
    from monitoring.log.models import Feedback, Prediction

logger = logging.getLogger("visionloop.feedback")

UNFINISHED = "scoring it did not end: give the label again to have it tried again"
"""The problem of a label while it is scored. It stays if scoring kills the process."""
ON_ITS_WAY_S = 3.0
"""How long a prediction may take from its answer to the database before it counts as unknown."""


def give_label(prediction_id: str, truth: bytes | str, source: str, *, wait_s: float = ON_ITS_WAY_S) -> None:
    """Stores the label of a prediction, in place of an earlier one.

    Args:
        truth: the bytes of a label file, or a class name (also as a file) for models whose labels are class names.
        source: who or what gave it, e.g. a user's name or `stream:noise`.

    Raises:
        NotFound: no prediction has this id.
        Refused: the prediction failed, or its input is not kept here.
        BadInput: it is not a label of this model, or does not fit that input.
        StorageError: the disk is full; the label is not taken.
    """
    database.setup()
    from monitoring.log.models import Feedback

    row = _find(prediction_id, wait_s)
    checked = label_check.check_label(row.model, row.outcome, row.status, input_file(row), truth, wait_s)
    path = truth_file(row)
    # Also where it is a word: the file says that the input has a label, and is kept for it.
    inputs.keep(path, checked.encode() if isinstance(checked, str) else checked)
    fields: dict[str, object] = {
        "time": datetime.now(UTC),
        "source": source[:128],
        "truth_text": checked if isinstance(checked, str) else "",
        "truth_file": str(path.relative_to(settings().var)) if isinstance(checked, bytes) else "",
        "score": None,
        "problem": "",
    }
    # How the first label came stays so, whoever corrects it.
    first = {**fields, "suggested": _was_suggested(row)}
    Feedback.objects.update_or_create(prediction=row, defaults=fields, create_defaults=first)


def _was_suggested(row: Prediction) -> bool:
    """Whether a drift report named this prediction. Its label is then not a random sample."""
    from monitoring.log.models import Verdict

    named = Verdict.objects.filter(model=row.model, version=row.version, time__gte=row.time, drifted=True)
    return any(row.id in responsible for responsible in named.values_list("responsible", flat=True))


def score_pending(model: str, version: int, predictor: Predictor) -> int:
    """Scores the labels of a version that have no score yet, and returns how many it scored.

    `predictor` runs the bundle of that version. A label that cannot be scored keeps the reason in `problem`.
    """
    database.setup()
    from monitoring.log.models import Feedback

    waiting = Feedback.objects.filter(prediction__model=model, prediction__version=version, score=None, problem="")
    done = 0
    # No cursor stays open while rows are written: SQLite refuses a writer that reads an older state, and does not wait.
    for key in list(waiting.values_list("pk", flat=True)):
        row = waiting.select_related("prediction").filter(pk=key).first()
        if row is None:
            continue  # the prediction is past its retention, or somebody else scores it
        this_label = Feedback.objects.filter(pk=key, time=row.time)  # not one that replaces it meanwhile
        # Noted before: a label that costs the process its life (memory, a decoder's crash) must not do so again.
        if not this_label.filter(score=None, problem="").update(problem=UNFINISHED):
            continue
        score, problem = None, ""
        try:
            score = _score(row, predictor)
            done += 1
        except MissingKey:
            raise  # of all labels, until it is put back
        except Exception as error:  # one label that cannot be scored must not stop the others, now or ever
            problem = _problem(error)
            logger.warning("the label of %s cannot be scored", row.prediction_id, exc_info=error)
        finally:
            this_label.update(score=score, problem=problem)
    return done


def _score(row: Feedback, predictor: Predictor) -> float:
    item, part = labelled(row), predictor.spec.score
    found = float(part.score([predictor(item.body).result], [part.truth(item.truth)]))
    if not math.isfinite(found):
        raise BadInput(f"its score is {found}", expected="a number")
    return found


def _problem(error: Exception) -> str:
    """Why a label cannot be scored, in words for its sender: without the paths that system errors name."""
    if isinstance(error, FileNotFoundError):
        return "the input or the label is no longer kept"
    return first_line(error) if isinstance(error, VisionloopError) else f"scoring failed ({type(error).__name__})"


def _find(prediction_id: str, wait_s: float) -> Prediction:
    from monitoring.log.models import Prediction

    end = time.monotonic() + wait_s
    while True:
        row = Prediction.objects.filter(id=prediction_id).first()
        if row is not None:
            return row
        if time.monotonic() >= end:
            raise NotFound(
                f"there is no prediction {prediction_id[:64]!r}",
                expected="the X-Prediction-Id of an answer",
                fix="check the id; a prediction is known a second or so after its answer",
            )
        time.sleep(0.1)


def input_file(row: Prediction | Row) -> Path:
    """The path of a prediction's input, which may be gone."""
    return inputs.path_of(row.model, row.time.timestamp(), row.id, row.input_suffix)


def truth_file(row: Prediction) -> Path:
    """The path of a prediction's label beside its input; there is one only where a label was given."""
    return inputs.path_of(row.model, row.time.timestamp(), row.id, inputs.TRUTH)


def labelled(row: Feedback) -> LabelledInput:
    """The input of a label with it. Raises FileNotFoundError when either is no longer kept, and as `inputs.read`."""
    if not (path := input_file(row.prediction)).is_file():
        raise FileNotFoundError(path)
    truth = inputs.read(settings().var / row.truth_file) if row.truth_file else row.truth_text
    return LabelledInput(row.prediction.id, partial(inputs.read, path), truth)
