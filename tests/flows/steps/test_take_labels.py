"""Labelled predictions become cases; what cannot be learnt from is left out and told, and keeps nothing else back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from flows.steps import data, data_versions
from monitoring.feedback import performance
from monitoring.log import inputs
from registry.cases.records import LabelledInput
from registry.contract import catalog
from registry.core.errors import DataError, NotFound, Refused
from registry.core.files import write_file
from registry.core.settings import settings
from registry.datasets.layouts import BoxSet
from tests.bundles import MODEL
from tests.databases import own_database
from tests.registry.made import CLASSES, box_set, some_boxes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    box_set().synthesise(tmp_path / "set", {"seed": 1, "train": 4, "val": 3, "test": 3})
    return tmp_path / "set"


def test_bad_items_are_named_and_the_others_added(root: Path) -> None:
    part = box_set()
    items = part.synthesise_stream(9, 4)
    items[2] = LabelledInput("unknown-class", items[2].input, b"9 0.5 0.5 0.1 0.1")
    items[5] = LabelledInput("a-clip", b"\x1a\x45\xdf\xa3 a video", items[5].truth)
    added = part.add(root, items, "drift-1", data.LABEL_SHARES)
    assert added.new == 7
    assert [said.split(":")[0] for said in added.refused] == ["a-clip", "unknown-class"]
    assert {case.id for case in part.cases(root) if case.origin == "drift-1"} == {
        item.id for n, item in enumerate(items) if n not in (2, 5)
    }
    again = part.add(root, items, "drift-1", data.LABEL_SHARES)
    assert (again.new, again.refused) == (0, added.refused)


def test_a_broken_data_set_is_its_own_error(root: Path) -> None:
    (root / "cases.csv").unlink()
    with pytest.raises(DataError, match=r"cases\.csv"):
        box_set().add(root, [], "drift-1", data.LABEL_SHARES)


def test_every_model_s_stream_can_be_added_to_its_data(tmp_path: Path) -> None:
    for name in catalog.names():
        part = catalog.get(name).data
        part.synthesise(tmp_path / name, {"seed": 2, "train": 3, "val": 2, "test": 2})
        added = part.add(tmp_path / name, part.synthesise_stream(3, 5), "drift-1", data.LABEL_SHARES)
        assert (added.new, list(added.refused)) == (3, [])


def test_a_set_of_other_classes_is_its_own_error(root: Path) -> None:
    with pytest.raises(DataError, match="numbers other classes"):
        BoxSet("finder", CLASSES[:2], some_boxes).add(root, [], "drift-1", data.LABEL_SHARES)


class Log:
    """Predictions of version 1 with kept inputs, their labels, and verdicts on them, as the parts of the loop leave
    them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "data" / MODEL
        self.part = catalog.get(MODEL).data
        self.seed = 100

    def predict(self, count: int, **statistics: float) -> list[str]:
        from monitoring.log.models import Prediction

        self.seed += 1
        ids = []
        for item in self.part.synthesise_stream(count, self.seed):
            when = datetime.now(UTC)
            row = Prediction.objects.create(
                id=uuid.uuid4().hex, time=when, model=MODEL, version=1, role="live", latency_ms=1, outcome="ok",
                status=200, image_statistics=statistics, input_suffix=".nii.gz",
            )  # fmt: skip
            write_file(inputs.path_of(MODEL, when.timestamp(), row.id, ".nii.gz"), item.input)
            performance.give_label(row.id, item.truth, "me")
            ids.append(row.id)
        self.score(ids)
        return ids

    def score(self, ids: list[str], **changes: object) -> None:
        from monitoring.log.models import Feedback

        Feedback.objects.filter(prediction_id__in=ids).update(**{"score": 0.5, **changes})

    def judge(self, ids: list[str], action: str = "retrain", **finding: object) -> str:
        from monitoring.log.models import Prediction, Verdict

        times = sorted(Prediction.objects.filter(id__in=ids).values_list("time", flat=True))
        verdict = Verdict.objects.create(
            id=uuid.uuid4().hex[:12], time=datetime.now(UTC), model=MODEL, version=1, window_start=times[0],
            window_end=times[-1], predictions=len(ids), labels=len(ids), drifted=True, action=action, why="it moved",
            finding=finding,
        )  # fmt: skip
        return str(verdict.id)

    def origins(self) -> dict[str, str]:
        """Prediction id -> origin of the case that it became."""
        return {case.id: case.origin for case in self.part.cases(self.root) if case.origin.startswith("drift-")}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A project with data under DVC."""
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)  # DVC also reads the dvc.yaml of the folder that it runs in
    settings.cache_clear()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    remote = local\n['remote \"local\"']\n    url = ../var/dvc-remote\n"
    )
    found = Log(tmp_path)
    found.part.synthesise(found.root, {"seed": 1, "train": 3, "val": 2, "test": 2})
    with own_database(tmp_path / "var" / "visionloop.db"):
        yield found
    settings.cache_clear()


def test_a_retraining_takes_the_labels_of_its_verdict_s_window(log: Log) -> None:
    log.predict(3)
    drifted = log.predict(4)
    verdict = log.judge(drifted)
    log.predict(2)
    assert data.take_labels(MODEL, verdict) == (4, f"drift-{verdict[:8]}")
    assert log.origins() == dict.fromkeys(drifted, f"drift-{verdict[:8]}")
    assert data_versions.recorded(MODEL)


def test_broken_inputs_and_labels_that_fail_their_check_are_not_learnt(log: Log) -> None:
    good, inverted = log.predict(2, polarity=-0.5), log.predict(2, polarity=0.6)
    unscored, misshapen = log.predict(2), log.predict(2)
    log.score(unscored, score=None)
    log.score(misshapen, score=None, problem="the mask is 10 x 10")
    verdict = log.judge(good + inverted + unscored + misshapen, plausible={"polarity": [-1.0, 0.2]})
    assert data.take_labels(MODEL, verdict)[0] == 2
    assert set(log.origins()) == set(good)


def test_a_verdict_on_broken_inputs_teaches_nothing(log: Log) -> None:
    verdict = log.judge(log.predict(2), "bad_input")
    with pytest.raises(Refused, match="inputs are broken"):
        data.take_labels(MODEL, verdict)
    assert log.origins() == {}


def test_a_retraining_that_failed_is_gone_on_with_until_a_version_was_trained(log: Log) -> None:
    verdict = log.judge(log.predict(3))
    origin = data.take_labels(MODEL, verdict)[1]
    assert data.take_labels(MODEL, verdict) == (0, origin)
    data.note_learned(MODEL, 2)
    with pytest.raises(Refused, match="no new labels"):
        data.take_labels(MODEL, verdict)


def test_an_origin_without_a_held_out_case_is_learnt_all_the_same(log: Log) -> None:
    """Which version learnt from it was read from the held-out slices of a version: of such an origin there is none."""
    (number,) = log.predict(1)
    origin = data.take_labels(MODEL, log.judge([number]))[1]
    data.note_learned(MODEL, 2)
    from monitoring.feedback import labels
    from monitoring.log.models import Feedback

    assert labels.unlearned(MODEL) == []
    row = Feedback.objects.get(prediction_id=number)
    assert (row.origin, row.learned_by) == (origin, 2)


def test_what_a_crash_left_unrecorded_is_recorded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases are in the data set and the process ends before `dvc add`."""
    data_versions.add(MODEL)
    before, verdict = data_versions.recorded(MODEL), log.judge(log.predict(3))

    def killed(model: str) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_versions, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            data.take_labels(MODEL, verdict)
    assert len(log.origins()) == 3
    assert data_versions.recorded(MODEL) == before
    assert data.take_labels(MODEL, verdict)[0] == 0
    assert data_versions.recorded(MODEL) not in (None, before)
    assert not data_versions.add(MODEL).changed


def test_a_label_whose_input_is_in_the_data_already_is_not_waited_for(log: Log) -> None:
    from monitoring.log.models import Feedback

    first = log.predict(2)
    data.take_labels(MODEL, log.judge(first))
    data.note_learned(MODEL, 2)
    log.seed -= 1
    again = log.predict(2)  # the same inputs under other ids
    with pytest.raises(Refused, match="no new labels"):
        data.take_labels(MODEL, log.judge(again))
    assert set(Feedback.objects.filter(prediction_id__in=again).values_list("origin", flat=True)) == {"left out"}


def test_an_unknown_verdict_is_told_and_none_means_the_latest(log: Log) -> None:
    with pytest.raises(NotFound, match="no drift verdict"):
        data.take_labels(MODEL, "")
    verdict = log.judge(log.predict(1))
    with pytest.raises(NotFound, match="no drift verdict abc"):
        data.take_labels(MODEL, "abc")
    assert data.take_labels(MODEL, "")[1] == f"drift-{verdict[:8]}"
