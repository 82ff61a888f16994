"""Runs over every folder in registry/models: adding a model is adding a folder, and this is what it must keep."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml

from registry.cases.splits import SPLITS
from registry.contract import catalog, parts
from registry.contract.hooks import KerasHooks, TorchHooks, UltralyticsNetwork
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, NotFound
from registry.versions.explain import explain
from tests.conftest import PROJECT
from tests.registry.imported import cases_of, stream_of
from tests.registry.looking import Looking

LIMIT = 64_000_000
PARTS = {
    "data": parts.DataPart,
    "inference": parts.InferencePart,
    "render": parts.RenderPart,
    "score": parts.ScorePart,
    "shift": parts.ShiftPart,
}
HOOKS = {"torch": TorchHooks, "keras": KerasHooks, "ultralytics": UltralyticsNetwork}


@pytest.fixture(params=catalog.names())
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return catalog.get(request.param)


@pytest.fixture
def bodies(spec: ModelSpec, tmp_path: Path) -> list[bytes]:
    return [item.body for item in stream_of(spec, 3, 11, tmp_path / "bodies")]


def train_params(spec: ModelSpec) -> dict[str, Any]:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    return dict((params.get(spec.name) or params[spec.task])["train"])


def preprocessing(spec: ModelSpec) -> dict[str, object]:
    return dict(spec.network.preprocessing(train_params(spec)))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_of_its_base_class(spec: ModelSpec, part: str) -> None:
    assert isinstance(getattr(spec, part), PARTS[part])


def test_the_network_is_one_that_the_framework_trains(spec: ModelSpec) -> None:
    assert isinstance(spec.network, HOOKS[spec.framework])
    assert "embedding" in spec.network.OUTPUTS


def test_stages_and_parameters_know_the_model(spec: ModelSpec) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    assert {"data", "train", "retrain", "compress", "evaluate"} <= set(params.get(spec.name) or params[spec.task])


def test_the_same_seed_gives_the_same_stream_and_another_does_not(
    spec: ModelSpec, bodies: list[bytes], tmp_path: Path
) -> None:
    again = [item.body for item in stream_of(spec, 3, 11, tmp_path / "again")]
    other = [item.body for item in stream_of(spec, 3, 12, tmp_path / "other")]
    assert bodies == again
    assert set(bodies).isdisjoint(other)


def test_an_input_is_prepared_for_the_network(spec: ModelSpec, bodies: list[bytes]) -> None:
    for body in bodies:
        sample = spec.inference.decode(body, LIMIT)
        prepared = spec.inference.preprocess(sample, preprocessing(spec))
        assert prepared.batch.dtype == np.float32
        assert prepared.batch.shape[1:] == tuple(spec.network.input_shape(train_params(spec)))
        assert np.isfinite(prepared.batch).all()


def test_the_heat_map_points_at_what_the_network_looks_at(spec: ModelSpec, bodies: list[bytes]) -> None:
    constants, thresholds = preprocessing(spec), spec.network.thresholds(train_params(spec))
    samples = [spec.inference.decode(body, LIMIT) for body in bodies]
    prepared = [spec.inference.preprocess(sample, constants) for sample in samples]
    both = [(sample, one) for sample, one in zip(samples, prepared, strict=True) if len(one.batch)]
    assert both, "nothing to predict in any input"
    for sample, one in both:
        network = Looking.over(spec, one, 0)
        number = spec.inference.focus(sample, one, network.predict(sample, thresholds).result)[0]
        network = Looking.over(spec, one, number)
        prediction = network.predict(sample, thresholds)
        again, picture, (x1, y1, x2, y2) = spec.inference.focus(sample, one, prediction.result)
        assert again == number
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert (x2 - x1) / (y2 - y1) == pytest.approx(picture.shape[1] / picture.shape[0], rel=0.1)
        found = explain(network.as_predictor(), b"", prediction)
        assert found.calls == 65
        assert found.loss > 0.1
        assert np.isfinite(found.heat).all()
        assert found.heat.max() == 1
        assert found.picture.startswith(b"\xff\xd8")
        row, column = np.unravel_index(int(found.heat.argmax()), found.heat.shape)
        x = x1 + (column + 0.5) / found.heat.shape[1] * (x2 - x1)
        y = y1 + (row + 0.5) / found.heat.shape[0] * (y2 - y1)
        left, top, right, bottom = network.at
        assert left - (x2 - x1) / 8 <= x <= right + (x2 - x1) / 8
        assert top - (y2 - y1) / 8 <= y <= bottom + (y2 - y1) / 8


def test_image_statistics_are_finite_and_the_same_names_for_every_input(spec: ModelSpec, bodies: list[bytes]) -> None:
    found = [spec.inference.image_statistics(spec.inference.decode(body, LIMIT)) for body in bodies]
    assert len({tuple(one) for one in found}) == 1
    assert all(np.isfinite(list(one.values())).all() for one in found)


@pytest.mark.parametrize("body", [b"", b"\x00", b"not a file of any kind", bytes(4096)])
def test_rubbish_is_refused_with_a_word_on_how_to_fix_it(spec: ModelSpec, body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        spec.inference.decode(body, LIMIT)
    assert caught.value.found
    assert caught.value.expected or caught.value.fix


def test_every_shift_moves_an_image_statistic_and_stays_readable(spec: ModelSpec, bodies: list[bytes]) -> None:
    before = spec.inference.image_statistics(spec.inference.decode(bodies[0], LIMIT))
    for how in spec.shift.HOW:
        shifted = spec.shift.shift(bodies[0], how, 0.8, 3)
        assert shifted == spec.shift.shift(bodies[0], how, 0.8, 3), f"{how} is not repeatable"
        after = spec.inference.image_statistics(spec.inference.decode(shifted, LIMIT))
        moved = max(abs(after[k] - before[k]) / (abs(before[k]) + 1e-6) for k in before)
        assert moved > 0.05, f"{how} moves nothing"


def test_the_starter_data_has_all_splits_one_origin_and_unique_ids(spec: ModelSpec, tmp_path: Path) -> None:
    if not spec.data.has_starter:
        with pytest.raises(NotFound, match="no starter data"):
            spec.data.synthesise(tmp_path, {"seed": 3})
        return
    spec.data.synthesise(tmp_path, {"seed": 3, "train": 2, "val": 3, "test": 2})
    cases = spec.data.cases(tmp_path)
    assert [sum(case.split == split for case in cases) for split in SPLITS] == [2, 3, 2]
    assert all(case.origin == "starter" for case in cases)
    assert len({case.id for case in cases}) == len(cases)


def test_what_a_perfect_model_would_answer_has_the_best_score(spec: ModelSpec, tmp_path: Path) -> None:
    """Data, label files and metric agree; and the wrong case's truth does not score as well."""
    cases = cases_of(spec, tmp_path / "set", 5, 2, 6)
    if spec.data.has_starter:
        cases = [case for case in cases if case.split == "val"]
    best = spec.metric.perfect
    truths = [spec.score.truth(case.truth) for case in cases]
    samples = [spec.inference.decode(case.input.read_bytes(), LIMIT) for case in cases]
    perfect = [spec.score.result_of(truth, sample) for truth, sample in zip(truths, samples, strict=True)]
    assert spec.score.score(perfect, truths) == pytest.approx(best)
    assert all(value == pytest.approx(best) for value in spec.score.per_class(perfect, truths).values())
    with suppress(BadInput):  # a label of another size may be refused instead
        others = [*truths[1:], truths[0]]
        worse = [spec.score.score(perfect, others), *spec.score.per_class(perfect, others).values()]
        assert max(spec.metric.better_by(best, one) for one in worse) > 0.05


def test_labels_of_the_starter_data_pass_the_check_and_rubbish_does_not(spec: ModelSpec, tmp_path: Path) -> None:
    for case in cases_of(spec, tmp_path / "set", 5, 1, 2):
        body = case.input.read_bytes()[: 1 << 16]
        label = case.truth if isinstance(case.truth, str) else case.truth.read_bytes()
        spec.score.check(label, body)
        assert spec.score.positive(spec.score.truth(case.truth)) in (True, False)
        for bad in (case.input.read_bytes(), b"\xff\xfe\0", b"9000000000000 0.5 0.5 0.1 0.1\n\n1 2"):
            with pytest.raises(BadInput):
                spec.score.check(bad, body)
    assert spec.score.LABEL


def test_an_answer_is_of_plain_types(spec: ModelSpec, bodies: list[bytes], tmp_path: Path) -> None:
    """orjson, which the service answers with, takes a NumPy number for an error; `json` does not."""
    for case in cases_of(spec, tmp_path / "set", 5, 1, 1):
        sample = spec.inference.decode(case.input.read_bytes(), LIMIT)
        result = spec.score.result_of(spec.score.truth(case.truth), sample)
        assert orjson.dumps(result.to_json())


def test_pictures_are_jpegs(spec: ModelSpec, bodies: list[bytes]) -> None:
    assert spec.render.picture(spec.inference.decode(bodies[0], LIMIT)).startswith(b"\xff\xd8")


def test_every_format_but_json_has_an_encoder(spec: ModelSpec) -> None:
    assert set(spec.render.FORMATS) == set(spec.media_out) - {"application/json"}
    assert spec.media_out[0] == "application/json"


def test_a_spec_is_json_able_for_pages(spec: ModelSpec) -> None:
    json.dumps([spec.name, spec.title, spec.classes, spec.media_in, spec.caution])
    assert spec.name.isidentifier()
    assert spec.name == spec.name.lower()


def test_no_models_spec_loads_a_library() -> None:
    """Every command reads all of them at its start."""
    script = (
        "import sys\n"
        "from registry.contract import catalog\n"
        "assert len(catalog.names()) >= 6\n"
        "[catalog.get(name) for name in catalog.names()]\n"
        "print([one for one in ('numpy', 'cv2', 'PIL', 'av', 'nibabel', 'pandas') if one in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
