"""Starter data that means something, the answer, and the network's own hooks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.media import Picture
from registry.models.suspect_classification import SPEC, scenes
from registry.vision.picture import decode
from registry.vision_tasks.classification import LOGITS, Ranking

data = SPEC.data
inference = SPEC.inference
network = SPEC.network
render = SPEC.render
score = SPEC.score
shift = SPEC.shift
PARAMS = {"image_size": 64, "alpha": 0.35}
MAX_PIXELS = 1_000_000


def probe_features(picture: bytes) -> np.ndarray:
    return cv2.resize(decode(picture, MAX_PIXELS).pixels, (12, 12), interpolation=cv2.INTER_AREA).ravel() / 255.0


def answer(logits: list[float], **constants: object) -> Ranking:
    sample = Picture(np.full((50, 90, 3), 80, np.uint8))
    prepared = inference.preprocess(sample, {"image_size": 64, **constants})
    return inference.postprocess({LOGITS: np.array([logits], np.float32)}, prepared, {})


def test_the_classes_are_the_nine_in_their_order() -> None:
    assert SPEC.classes == (
        "camera", "weapon", "other", "baton", "knife", "drone", "yellow_vest", "grenade", "person",
    )  # fmt: skip
    assert SPEC.classes == scenes.CLASSES
    assert catalog.get("suspect_classification") is SPEC


def test_classes_come_in_turn_and_pictures_differ_in_shape_and_content() -> None:
    made = [scenes.make(np.random.default_rng([1, n]), n) for n in range(30)]
    assert [one.truth for one in made] == [*SPEC.classes, "other"] * 3
    shapes = {decode(one.picture, MAX_PIXELS).pixels.shape for one in made}
    assert len(shapes) > 20
    assert {one.attributes["size"] for one in made} == {"small", "large"}
    assert len({one.picture for one in made}) == 30


def test_a_linear_look_at_the_pixels_does_not_solve_it() -> None:
    """Ridge regression on 12 x 12 pixels: better than chance, and far from the floor of 0.8."""
    made = [scenes.make(np.random.default_rng([2, n]), n) for n in range(270)]
    x = np.array([probe_features(one.picture) for one in made])
    x = np.hstack([x - x.mean(axis=0), np.ones((len(x), 1))])
    y = np.array([SPEC.classes.index(str(one.truth)) for one in made])
    wanted = np.eye(9)[y]
    train, val = slice(0, 180), slice(180, 270)
    best = 0.0
    for strength in (0.1, 1.0, 10.0, 100.0):
        weights = np.linalg.solve(x[train].T @ x[train] + strength * np.eye(x.shape[1]), x[train].T @ wanted[train])
        best = max(best, float(((x[val] @ weights).argmax(axis=1) == y[val]).mean()))
    assert best < 0.6


def test_the_answer_has_class_probability_all_scores_and_the_models_size() -> None:
    said = answer([0, 5, 0, 0, 0, 0, 0, 0, 1], size_mb=1.25).to_json()
    assert said["class"] == "weapon"
    assert said["probability"] > 0.9
    assert set(said["scores"]) == set(SPEC.classes)
    assert list(said["scores"])[:2] == ["weapon", "person"]
    assert said["model_size_mb"] == 1.25
    assert "model_size_mb" not in answer([0.0] * 9).to_json()


def test_labels_are_class_names() -> None:
    assert score.truth(b"Yellow_Vest\n") == "yellow_vest"
    results = [answer([0, 5, 0, 0, 0, 0, 0, 0, 0]), answer([5, 0, 0, 0, 0, 0, 0, 0, 0])]
    assert score.score(results, ["weapon", "camera"]) == 1.0
    assert score.per_class(results, ["weapon", "knife"]) == {"weapon": 1.0, "knife": 0.0}


def test_the_picture_for_people_shows_the_bars() -> None:
    sample = Picture(np.full((120, 90, 3), 80, np.uint8))
    plain = decode(render.picture(sample), MAX_PIXELS).pixels
    drawn = decode(render.FORMATS["image/jpeg"](sample, answer([0, 5, 0, 0, 0, 0, 0, 0, 0])), MAX_PIXELS).pixels
    marked = decode(render.picture(sample, answer([0, 5, 0, 0, 0, 0, 0, 0, 0]), "baton"), MAX_PIXELS).pixels
    assert plain.shape == (120, 90, 3)
    assert drawn.shape[1] > 2 * drawn.shape[0] * 90 / 120
    assert not np.array_equal(drawn, marked)


def test_augmentation_is_new_in_each_epoch_and_the_same_in_a_repeat(tmp_path: Path) -> None:
    data.synthesise(tmp_path, {"seed": 3, "train": 3, "val": 1, "test": 1})
    cases = [case for case in data.cases(tmp_path) if case.split == "train"]
    one, again, plain = (network.examples(cases, PARAMS, train, 5) for train in (True, True, False))
    first = one[0][0]
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1
    np.testing.assert_array_equal(first, again[0][0])
    one.set_epoch(1)
    assert np.abs(one[0][0] - first).max() > 0.05
    np.testing.assert_array_equal(plain[0][0], plain[0][0])
    prepared = inference.preprocess(decode(cases[0].input.read_bytes(), MAX_PIXELS), network.preprocessing(PARAMS))
    np.testing.assert_array_equal(plain[0][0], prepared.batch[0].transpose(1, 2, 0))  # trained as it is served
    assert [int(plain[n][1]) for n in range(3)] == [SPEC.classes.index(str(case.truth)) for case in cases]


@pytest.fixture(scope="module")
def built() -> object:
    from training.engines.engine_keras import KerasEngine

    return KerasEngine().build(SPEC.network, PARAMS, 3)


def test_the_network_gives_nine_logits_and_its_features(built: object) -> None:
    from training.engines.engine_keras import KerasEngine

    outputs = KerasEngine().session(SPEC.network, built)(
        np.random.default_rng(1).random((2, 3, 64, 64), dtype=np.float32)
    )
    assert {name: value.shape for name, value in outputs.items()} == {"logits": (2, 9), "embedding": (2, 1280)}
    assert KerasEngine().cost(built, network.input_shape(PARAMS)).macs > 1e6


def test_pruning_halves_it_and_leaves_the_classes(built: object, tmp_path: Path) -> None:
    from training.engines.engine_keras import KerasEngine
    from training.workspace.workspace import Compression

    data.synthesise(tmp_path, {"seed": 3, "train": 10, "val": 1, "test": 1})
    params = {**PARAMS, "batch": 9, "seed": 3}
    pruned = KerasEngine().prune(SPEC.network, built, data.cases(tmp_path), params, Compression(sparsity=0.5)).network
    before, after = (KerasEngine().cost(one, network.input_shape(PARAMS)) for one in (built, pruned))
    assert after.macs < 0.5 * before.macs
    weights = KerasEngine().weights(pruned)
    assert weights["classes/kernel"].shape == (640, 9)
    assert all(value.shape[-1] % 8 == 0 for name, value in weights.items() if name.endswith("expand/kernel"))
