"""Plays a stream of fresh inputs, shifted on request, against the service: `visionloop break`."""

from __future__ import annotations

import logging
from collections import Counter

from flows.router_client import router_client
from monitoring.feedback import performance
from registry.cases.records import LabelledInput
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import MissingService, Refused, VisionloopError

logger = logging.getLogger("visionloop.stream")


def play(
    model: str,
    how: str | None,
    severity: float,
    count: int,
    seed: int,
    address: str = "",
    label: bool = False,
    *,
    step: str = "break",
) -> list[str]:
    """Sends `count` fresh inputs, one after the other. Returns the ids of the predictions that were answered.

    Args:
        how: a kind of `spec.shift.HOW`. None: the stream as it is.
        severity: of the shift, in (0, 1].
        address: of the router. Default: this stack's.
        label: also give each input's truth as feedback.
        step: the journal's step that shows the progress.

    Raises:
        NotFound: there is no such model.
        MissingService: nothing answers at `address`.
    """
    spec = catalog.get(model)
    shift = f"{how} at severity {severity:g}" if how else "no shift"
    ids: list[str] = []
    refused: Counter[int] = Counter()
    with router_client(address) as client:
        for number, item in enumerate(spec.data.synthesise_stream(count, seed)):
            body = spec.shift.shift(item.body, how, severity, seed + number) if how else item.body
            try:
                ids.append(client.predict(model, body).id)
            except VisionloopError as error:
                if error.status is None:  # nothing answered at all
                    fix = "`visionloop up` starts it, `visionloop status` says where it is"
                    raise MissingService(error.found, expected=error.expected, fix=fix) from error
                refused[error.status] += 1
            else:
                if label:
                    _label(ids[-1], item, how)
            journal.progress(step, number + 1, count, "predictions", shift, model)
    note = "".join(f"; {n} answered with {status}" for status, n in sorted(refused.items()))
    journal.fact(step, f"{len(ids)} of {count} inputs predicted ({shift}){note}", model, how=how, severity=severity)
    if refused:
        logger.warning("%d of %d inputs were refused%s", refused.total(), count, note)
    return ids


def _label(prediction_id: str, item: LabelledInput, how: str | None) -> None:
    try:
        performance.give_label(prediction_id, item.truth, f"stream:{how or 'plain'}", wait_s=10.0)
    except Refused as error:  # its input was dropped, or is not kept: the others go on
        logger.warning("the label of %s was not taken: %s", prediction_id, error.found)
