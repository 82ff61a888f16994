"""Kept inputs and labels are encrypted: what that changes where one is damaged, swapped, old, or its key is away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from monitoring.feedback import performance
from monitoring.log import inputs
from registry.core.errors import BadInput, MissingKey
from registry.core.files import write_file
from registry.encryption import keys
from registry.encryption.files import is_encrypted_file
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from tests.monitoring.scans import Send, mask, scans

MODEL = "skin_segmentation"


def kept(prediction: str) -> Path:
    (path,) = (one for one in inputs.folder().rglob(f"{prediction}.*") if one.suffix != inputs.TRUTH)
    return path


def label(prediction: str) -> Any:
    from monitoring.log.models import Feedback

    return Feedback.objects.select_related("prediction").get(prediction_id=prediction)


@pytest.fixture
def labelled(send: Send) -> str:
    """A prediction whose label is not scored yet."""
    (prediction,) = send(scans(1))
    performance.give_label(prediction, mask(), "me")
    return prediction


@pytest.fixture
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle, threads=1)


def test_an_input_and_its_label_are_encrypted_and_come_back(labelled: str) -> None:
    for path in (kept(labelled), kept(labelled).with_name(f"{labelled}{inputs.TRUTH}")):
        assert is_encrypted_file(path)
    item = performance.labelled(label(labelled))
    assert (item.body, item.truth) == (scans(1)[0], mask())


def test_one_that_was_kept_in_the_clear_is_scored_as_before(labelled: str, predictor: Predictor) -> None:
    write_file(kept(labelled), scans(1)[0])
    write_file(kept(labelled).with_name(f"{labelled}{inputs.TRUTH}"), mask())
    assert performance.score_pending(MODEL, 1, predictor) == 1
    assert label(labelled).score is not None


@pytest.mark.parametrize("how", ["damaged", "swapped"])
def test_one_that_is_not_what_was_kept_is_noted_and_stops_no_other(
    labelled: str, predictor: Predictor, send: Send, how: str
) -> None:
    (other,) = send(scans(1, first=7000))
    performance.give_label(other, mask(), "me")
    if how == "swapped":
        kept(labelled).write_bytes(kept(other).read_bytes())
    else:
        os.truncate(kept(labelled), kept(labelled).stat().st_size - 1)
    assert performance.score_pending(MODEL, 1, predictor) == 1
    assert "is damaged" in label(labelled).problem
    assert label(other).score is not None
    with pytest.raises(BadInput):
        performance.labelled(label(labelled)).body  # noqa: B018


def test_a_key_that_is_away_is_an_error_and_what_needs_it_waits(labelled: str, predictor: Predictor) -> None:
    """Labels are not given up for good because somebody moved a file."""
    path = keys.key_file()
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(MissingKey, match="which is not here"):
        performance.score_pending(MODEL, 1, predictor)
    assert (label(labelled).score, label(labelled).problem) == (None, "")
    path.with_name("elsewhere").replace(path)
    assert performance.score_pending(MODEL, 1, predictor) == 1
