"""Plays a stream of fresh, optionally shifted inputs against the service: what `visionloop break` does."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from monitoring.feedback import performance
from registry.cases.records import LabelledInput
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core import journal
from registry.core.errors import BadInput, MissingService, NotFound, Refused
from registry.core.settings import settings

logger = logging.getLogger("visionloop.stream")

STEP = "break"
ID_HEADER = "X-Prediction-Id"
PATIENCE_S = 30.0
"""How long a service that answers 503 is asked again."""


def play(
    model: str,
    how: str | None,
    severity: float,
    count: int,
    seed: int,
    address: str = "",
    label: bool = False,
    *,
    step: str = STEP,
    bar: bool = True,
) -> list[str]:
    """Sends `count` fresh inputs one after the other, and returns the ids of the predictions that were answered.

    Args:
        how: a kind of `spec.shift.HOW`; None plays the stream as it is.
        severity: of the shift, in (0, 1].
        address: of the router; default: this stack's.
        label: also gives each input's truth as feedback.
        step: the journal's step that the progress belongs to.
        bar: shows a progress bar of its own on a terminal.

    Raises:
        NotFound: there is no such model or kind of shift.
        BadInput: the severity or the count is out of range.
        MissingService: nothing answers at `address`.
    """
    spec = catalog.get(model)
    _check(spec, how, severity, count)
    url = f"{(address or settings().router_address).rstrip('/')}/v1/models/{model}/predict"
    unit = "predictions"
    ids: list[str] = []
    refused: dict[int, int] = {}
    told = f"{how} at severity {severity:g}" if how else "no shift"
    direct = address is None  # our own router: a proxy of the environment has no way to it
    caller = httpx.Client(timeout=settings().request_timeout_s, headers=settings().key_headers, trust_env=not direct)
    with caller as client, _bar(count, told, bar) as advance:
        for number, item in enumerate(spec.data.synthesise_stream(count, seed)):
            body = spec.shift.shift(item.body, how, severity, seed + number) if how else item.body
            answer = _post(client, url, spec, body)
            if answer.is_success and answer.headers.get(ID_HEADER):
                ids.append(answer.headers[ID_HEADER])
                if label:
                    _label(ids[-1], item, how)
            else:
                refused[answer.status_code] = refused.get(answer.status_code, 0) + 1
            advance()
            journal.progress(step, number + 1, count, unit, told, model)
    note = "".join(f"; {n} answered with {status}" for status, n in sorted(refused.items()))
    journal.fact(step, f"{len(ids)} of {count} inputs predicted ({told}){note}", model, how=how, severity=severity)
    if refused:
        logger.warning("%d of %d inputs were refused%s", sum(refused.values()), count, note)
    return ids


def _check(spec: ModelSpec, how: str | None, severity: float, count: int) -> None:
    if how is not None and how not in spec.shift.HOW:
        raise NotFound(
            f"there is no shift {how!r} for {spec.name}",
            expected=f"one of {', '.join(spec.shift.HOW)}",
            fix="choose one of them with --how",
        )
    if how is not None and not 0 < severity <= 1:
        raise BadInput(f"the severity is {severity}", expected="a number above 0, up to 1", fix="give --severity 0.6")
    if count < 1:
        raise BadInput(f"the count is {count}", expected="at least 1", fix="give --count 24")


def _post(client: httpx.Client, url: str, spec: ModelSpec, body: bytes) -> httpx.Response:
    """One prediction; waits while the service says that it is just not there."""
    end = time.monotonic() + PATIENCE_S
    files = {"file": (f"stream{spec.extensions[0]}", body, spec.media_in[0])}
    while True:
        try:
            answer = client.post(url, files=files, headers={"Accept": "application/json"})
            pause = answer.headers.get("Retry-After", "")
            if answer.status_code != 503 or not pause or time.monotonic() >= end:
                return answer
            time.sleep(min(float(pause) if pause.isdigit() else 0.5, 5.0))
        except httpx.TransportError as error:
            if time.monotonic() >= end or isinstance(error, httpx.ConnectError):
                raise MissingService(
                    f"{url} does not answer: {error}",
                    expected="the router of a running stack with a live version",
                    fix="`visionloop up` starts it, `visionloop status` shows it",
                ) from error


def _label(prediction_id: str, item: LabelledInput, how: str | None) -> None:
    try:
        performance.give(prediction_id, item.truth, f"stream:{how or 'plain'}", wait_s=10.0)
    except Refused as error:  # its input was dropped, or none is kept: the others go on
        logger.warning("the label of %s was not taken: %s", prediction_id, error.found)


@contextmanager
def _bar(count: int, told: str, wanted: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields what advances it by one."""
    if not wanted or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"Playing {count} inputs, {told}", total=count)
        yield lambda: progress.advance(task)
