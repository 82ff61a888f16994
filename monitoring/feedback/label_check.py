"""Checks a label before it is stored, so that every stored label can be scored and used for training."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from monitoring.log import inputs
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, Refused, VisionloopError
from registry.core.settings import settings

logger = logging.getLogger("visionloop.feedback")

HEAD = 1 << 16
"""Bytes of an input that a label is checked against: enough for any header."""
LOOK_EVERY_S = 0.1


def check_label(model: str, outcome: str, status: int, kept: Path, truth: bytes | str, wait_s: float) -> bytes | str:
    """The label as it is to be stored: a class name as the data set spells it, or the label file.

    Args:
        outcome, status: of the prediction.
        kept: path of its input; waits up to `wait_s` for one that is still being written.

    Raises:
        Refused: the prediction failed, or its input is not kept here, so the label could never be scored.
        BadInput: it is not a label of that model, or does not fit that input.
    """
    if outcome != "ok":
        raise Refused(
            f"the request was answered with {status} ({outcome}): there is nothing to label",
            expected="a prediction that was answered with 200",
            fix="send the input again, and label that answer",
        )
    spec = catalog.get(model)
    try:
        spec.score.check(truth, _head_of(kept, wait_s))
        return _class_name(spec, truth) if names_a_class(spec) else _as_bytes(truth)
    except VisionloopError:
        raise
    except Exception as error:  # readers of files raise their own kinds for a damaged file
        logger.info("a label of %s cannot be read", model, exc_info=error)
        raise BadInput(
            "the label cannot be read", expected=spec.score.LABEL, fix="export the label again, and send it"
        ) from error


def names_a_class(spec: ModelSpec) -> bool:
    """Whether a label of this model is a class name rather than a file."""
    try:
        return isinstance(spec.score.truth(spec.classes[0].encode()), str)
    except BadInput:
        return False


def _as_bytes(truth: bytes | str) -> bytes:
    return truth.encode() if isinstance(truth, str) else truth


def _class_name(spec: ModelSpec, truth: bytes | str) -> str:
    given = spec.score.truth(_as_bytes(truth))
    classes = spec.classes_of(settings().data / spec.name)
    name = {one.casefold(): one for one in classes}.get(given.casefold())
    if name is None:
        raise BadInput(
            f"the label is {given[:80]!r}", expected=f"one of {', '.join(classes)}", fix="send the label again"
        )
    return name


def _head_of(kept: Path, wait_s: float) -> bytes:
    end = time.monotonic() + wait_s
    while True:
        try:
            return inputs.read(kept, HEAD)
        except OSError as error:
            if time.monotonic() >= end:
                raise Refused(
                    "the input of this prediction is not kept here, so its label could never be scored",
                    expected="a prediction within its retention time, and the router beside the service that answered",
                    fix="send labels sooner, to the router that gave the answer",
                ) from error
        time.sleep(LOOK_EVERY_S)
