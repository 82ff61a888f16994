"""Verdicts over real predictions of a small real bundle, stored in a real database."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from monitoring.feedback import labels, performance
from monitoring.log import inputs
from monitoring.log.writer import PredictionLog
from monitoring.report import watch
from registry.core.errors import BadInput, BundleError
from registry.core.media import Prediction
from registry.versions.bundle import REFERENCE, Bundle
from registry.versions.predictor import Predictor
from tests.bundles import MODEL
from tests.monitoring.conftest import make_record
from tests.monitoring.scans import Send, inverted, mask, scans


def test_without_drift_the_verdict_is_quiet(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Verdict

    send(scans(24))
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert (verdict.action, verdict.drifted, verdict.predictions) == ("none", False, 24)
    assert Verdict.objects.get(id=verdict.id).action == "none"


def test_drift_without_labels_asks_for_labels_of_the_images_responsible(send: Send, bundle: Bundle) -> None:
    send(scans(8))
    noisy = send(scans(16, first=2000, noise=0.25))
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.action == "label"
    assert verdict.kinds["data"]
    assert set(verdict.responsible[:16]) == set(noisy)
    assert "noise" in verdict.why
    assert len(list(verdict.folder.glob("responsible-*.jpg"))) == watch.SHOWN


def test_drift_with_labels_says_retrain_and_the_score_is_measured(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Verdict as Row

    ids = send(scans(28, first=2000, noise=0.25))
    for number in ids:
        performance.give_label(number, mask(), "a radiologist")
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.action == "retrain"
    assert verdict.labels == 28
    assert verdict.kinds["performance"]
    assert "score fell" in verdict.why
    assert len(labels.labels_of_window(Row.objects.get(id=verdict.id))) == 28


def test_inverted_inputs_are_a_fault_of_the_source_and_nothing_to_learn_from(send: Send, bundle: Bundle) -> None:
    ids = send([inverted(body) for body in scans(20)])
    for number in ids:
        performance.give_label(number, mask(), "a radiologist")
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.action == "bad_input"
    assert "inverted" in verdict.why


def test_a_version_with_next_to_no_reference_is_not_watched_however_many_predictions_there_are(
    send: Send, bundle: Bundle, tmp_path: Path
) -> None:
    copied = Bundle(Path(shutil.copytree(bundle.path, tmp_path / "small")), bundle.manifest)
    pq.write_table(pq.read_table(bundle.path / REFERENCE).slice(0, 3), copied.path / REFERENCE)
    send(scans(24))
    verdict = watch.make_verdict(MODEL, 1, copied)
    assert verdict.action == "none"
    assert "is not watched: its reference has 3 test cases, and 5 are needed" in verdict.why
    assert "too few" not in verdict.why
    (copied.path / REFERENCE).unlink()
    with pytest.raises(BundleError, match=r"is not watched: .* cannot be read"):
        watch.make_verdict(MODEL, 1, copied)


def test_requests_that_fail_are_bad_input(send: Send, bundle: Bundle) -> None:
    send(scans(10))
    log = PredictionLog("service")
    log.start()
    for _ in range(10):
        log.record(make_record(outcome="BadInput", status=422, embedding=[], image_statistics={}))
    log.close()
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.action == "bad_input"
    assert "10 x BadInput" in verdict.why
    assert verdict.errors == 10


def test_a_new_version_that_scores_worse_on_the_same_inputs_is_rolled_back(send: Send, bundle: Bundle) -> None:
    send(scans(1), version=1)
    time.sleep(0.01)
    for number in send(scans(12), version=2):
        performance.give_label(number, mask(full=True), "a radiologist")
    verdict = watch.make_verdict(MODEL, 2, bundle)
    assert verdict.action == "roll_back"
    assert verdict.kinds == {
        "data": False,
        "prediction": False,
        "embedding": False,
        "performance": True,
    }


def test_too_few_predictions_are_not_judged(send: Send, bundle: Bundle) -> None:
    send(scans(3, noise=0.25))
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.action == "none"
    assert "too few" in verdict.why
    assert "too few" in verdict.page.read_text()


def test_the_window_can_be_cut_by_number_and_by_time(send: Send, bundle: Bundle) -> None:
    send(scans(10, noise=0.25))
    middle = time.time()
    time.sleep(0.01)
    send(scans(12))
    assert watch.make_verdict(MODEL, 1, bundle, last=12).predictions == 12
    assert watch.make_verdict(MODEL, 1, bundle, since=middle).action == "none"


def test_the_page_needs_nothing_from_elsewhere_and_evidently_keeps_the_run(
    send: Send, bundle: Bundle, home: Path
) -> None:
    send(scans(24, noise=0.12))
    verdict = watch.make_verdict(MODEL, 1, bundle)
    page = verdict.page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert "report.html" in page
    assert (verdict.folder / "report.html").stat().st_size > 1_000_000
    said = json.loads((verdict.folder / "verdict.json").read_text())
    assert said["id"] == verdict.id
    assert said["scores"]["distributions"]["drifted"]
    runs = list((home / "var" / "evidently").glob("*/snapshots/*.json"))
    assert len(runs) == 1
    # Its own tests of the kinds are the verdict, and the columns that it draws are those that drifted.
    stored = json.loads(runs[0].read_text())["metric_results"].values()
    tests = {t["bound_test"]["label"]: t["status"] for one in stored for t in one["tests"]}
    assert {kind: status == "FAIL" for kind, status in tests.items()} | {"performance": False} == verdict.kinds
    drifted = {c["name"] for t in said["scores"]["distributions"]["tests"] for c in t["columns"] if c["drifted"]}
    configs = (one["metric_value_location"]["metric"]["params"] for one in stored)
    drawn = {config["column"] for config in configs if "column" in config}
    assert drawn
    assert drawn <= drifted


def test_feedback_for_an_unknown_prediction_or_that_is_no_label_is_refused(send: Send) -> None:
    from monitoring.log.models import Feedback
    from registry.core.errors import NotFound

    (number,) = send(scans(1))
    with pytest.raises(NotFound):
        performance.give_label(uuid.uuid4().hex, mask(), "me", wait_s=0)
    for bad in (b"no NIfTI", "/etc/passwd"):
        with pytest.raises(BadInput):
            performance.give_label(number, bad, "me")
    assert Feedback.objects.count() == 0


def test_a_second_label_replaces_the_first(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Feedback

    (number,) = send(scans(1))
    performance.give_label(number, mask(full=True), "me")
    performance.give_label(number, mask(), "someone who looked")
    assert performance.score_pending(MODEL, 1, Predictor(bundle, threads=1)) == 1
    row = Feedback.objects.get()
    assert row.source == "someone who looked"
    assert 0 < (row.score or 0) < 1
    assert row.problem == ""


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (MemoryError(), "scoring failed (MemoryError)"),
        (IndexError("index 5 is out of bounds"), "scoring failed (IndexError)"),
        (OverflowError("too large"), "scoring failed (OverflowError)"),
        (PermissionError(13, "Permission denied", "/srv/var/inputs/x"), "scoring failed (PermissionError)"),
        (FileNotFoundError(2, "No such file", "/srv/var/inputs/x"), "the input or the label is no longer kept"),
        (BadInput("the label has 9 voxels", expected="10"), "the label has 9 voxels"),
        (BadInput(""), "BadInput"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_a_label_that_cannot_be_scored_is_noted_once_and_stops_no_other(
    send: Send, bundle: Bundle, error: Exception, noted: str
) -> None:
    from monitoring.log.models import Feedback

    bodies = scans(3)
    for number in send(bodies):
        performance.give_label(number, mask(), "me")
    asked = []

    class Broken(Predictor):
        def __call__(self, body: bytes, *args: Any, **options: Any) -> Prediction:
            asked.append(body)
            if body == bodies[0]:
                raise error
            return super().__call__(body, *args, **options)

    assert performance.score_pending(MODEL, 1, Broken(bundle, threads=1)) == 2
    assert len(asked) == 3
    assert performance.score_pending(MODEL, 1, Broken(bundle, threads=1)) == 0
    assert len(asked) == 3, "it is not tried again"
    (problem,) = Feedback.objects.exclude(problem="").values_list("problem", flat=True)
    assert problem == noted
    assert Feedback.objects.filter(score__isnull=False).count() == 2


class Stop(BaseException):
    """What ends a process in an orderly way."""


def test_a_label_that_costs_a_process_its_life_does_so_once(send: Send, bundle: Bundle) -> None:
    """The process is really gone: nothing of it runs afterwards."""
    from monitoring.log.models import Feedback

    bodies = scans(3)
    numbers = send(bodies)
    for number in numbers:
        performance.give_label(number, mask(), "me")

    class Deadly(Predictor):
        def __call__(self, body: bytes, *args: Any, **options: Any) -> Prediction:
            if body == bodies[0]:
                os._exit(137)
            return super().__call__(body, *args, **options)

    deadly = Deadly(bundle, threads=1)  # before the fork: its engine has threads, and the child uses it no further
    child = os.fork()
    if child == 0:
        performance.score_pending(MODEL, 1, deadly)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    performance.score_pending(MODEL, 1, deadly)
    assert Feedback.objects.filter(score__isnull=False).count() == 2
    assert Feedback.objects.get(prediction_id=numbers[0]).problem == performance.UNFINISHED
    performance.give_label(numbers[0], mask(), "me")
    assert performance.score_pending(MODEL, 1, Predictor(bundle, threads=1)) == 1


def test_a_stop_in_the_middle_costs_no_label(send: Send, bundle: Bundle) -> None:
    for number in send(scans(2)):
        performance.give_label(number, mask(), "me")

    class Stopped(Predictor):
        def __call__(self, *_: Any, **__: Any) -> Prediction:
            raise Stop

    with pytest.raises(Stop):
        performance.score_pending(MODEL, 1, Stopped(bundle, threads=1))
    assert performance.score_pending(MODEL, 1, Predictor(bundle, threads=1)) == 2


def test_a_label_that_is_replaced_while_it_is_scored_keeps_no_score_of_the_first(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Feedback

    (number,) = send(scans(1))
    performance.give_label(number, mask(full=True), "me")

    class Slow(Predictor):
        def __call__(self, *args: Any, **options: Any) -> Prediction:
            performance.give_label(number, mask(), "me")
            return super().__call__(*args, **options)

    performance.score_pending(MODEL, 1, Slow(bundle, threads=1))
    assert (Feedback.objects.get().score, Feedback.objects.get().problem) == (None, "")
    assert performance.score_pending(MODEL, 1, Predictor(bundle, threads=1)) == 1


def test_a_label_without_its_input_keeps_the_reason(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Feedback
    from monitoring.log.models import Prediction as Row

    (number,) = send(scans(1))
    performance.give_label(number, mask(), "me")
    performance.input_file(Row.objects.get(id=number)).unlink()
    assert performance.score_pending(MODEL, 1, Predictor(bundle, threads=1)) == 0
    assert "no longer kept" in Feedback.objects.get().problem
    assert inputs.folder().is_dir()


def test_many_labels_are_scored_while_others_write_into_the_database(
    send: Send, bundle: Bundle, operational: Path
) -> None:
    """A writer between two rows: SQLite answers "database is locked" at once to one who still reads an older state."""
    from django.db import connection

    count = 210
    for number in send(scans(1) * count):
        performance.give_label(number, mask(), "me")

    class Meddled(Predictor):
        def __call__(self, *args: Any, **options: Any) -> Prediction:
            with sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=20) as other:
                other.execute("UPDATE monitoring_prediction SET caller = caller || 'x'")
            return super().__call__(*args, **options)

    assert performance.score_pending(MODEL, 1, Meddled(bundle, threads=1)) == count
