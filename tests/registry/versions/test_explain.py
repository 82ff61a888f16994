"""Occlusion maps: on a real bundle, and on networks that are known to look at one place."""

from __future__ import annotations

from dataclasses import replace

import cv2
import nibabel as nib
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.errors import BadInput
from registry.core.media import ByteArray, Clip, Parameters, Prediction, Prepared, Volume
from registry.scenes.backdrop import backdrop
from registry.versions import explain as module
from registry.versions.explain import COPIES, GRID, Windows, explain
from registry.versions.predictor import CHUNK, Predictor
from tests.bundles import make_scan, make_tiny_bundle
from tests.registry.looking import Looking


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(make_tiny_bundle(tmp_path_factory.mktemp("explain") / "bundle").path, threads=1)


def hung(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Anterior up, the patient's right on the left, by nibabel's own reckoning."""
    codes = nib.orientations.axcodes2ornt(("L", "P", "S"))
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), codes)
    return nib.orientations.apply_orientation(volume, turn)[:, :, 0].T


def test_the_heat_lies_on_the_object(predictor: Predictor) -> None:
    body = make_scan(3, (64, 48))
    prediction = predictor(body)
    found = explain(predictor, body, prediction)
    mask = prediction.result.mask[:, :, 0].astype(np.float32)
    inside = cv2.resize(mask, found.heat.shape[::-1], interpolation=cv2.INTER_AREA)
    assert found.heat[inside > 0.9].mean() > 3 * found.heat[inside < 0.1].mean()
    assert found.heat.dtype == np.float32
    assert (found.heat.min(), found.heat.max()) == (pytest.approx(0, abs=0.3), 1)
    assert found.loss > 0
    assert found.calls == COPIES + 1
    assert found.seconds > 0


def test_without_a_prediction_it_makes_its_own(predictor: Predictor) -> None:
    body = make_scan(4, (64, 48))
    assert np.array_equal(explain(predictor, body).heat, explain(predictor, body, predictor(body)).heat)


def test_an_input_is_prepared_once_for_its_answer_and_its_explanation(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing may cost more than the network does: of a picture of people, it finds the faces."""
    part, body, prepared = predictor.spec.inference, make_scan(4, (64, 48)), []
    once = part.preprocess

    def counted(sample: Volume, constants: Parameters) -> Prepared:
        prepared.append(once(sample, constants))
        return prepared[-1]

    monkeypatch.setattr(part, "preprocess", counted)
    prediction = predictor(body)
    seen = explain(predictor, body, prediction)
    assert len(prepared) == 1
    assert np.array_equal(seen.heat, explain(predictor, body, replace(prediction, prepared=None)).heat)
    assert len(prepared) == 2


def test_the_picture_of_a_scan_is_hung_as_its_other_pictures_are(predictor: Predictor) -> None:
    """The network sees voxels in stored order; a scan stored the other way round must give the same picture."""
    rng = np.random.default_rng(0)
    voxels = cv2.GaussianBlur(rng.random((48, 64)).astype(np.float32), (0, 0), 5)
    voxels[10:26, 8:30] += 0.5  # a corner, so that every turn shows
    shown = []
    for turned, affine in (
        (voxels, np.diag([-1.0, 1.0, 1.0, 1.0])),
        (voxels[::-1, ::-1], np.diag([1.0, -1.0, 1.0, 1.0])),
        (voxels.T, np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
    ):
        file = nib.Nifti1Image((1000 * turned[:, :, None]).astype(np.int16)[:, :, 0], affine)
        found = explain(predictor, file.to_bytes())
        picture = cv2.imdecode(np.frombuffer(found.picture, np.uint8), cv2.IMREAD_COLOR)
        shown.append(cv2.resize(picture, (96, 96)).astype(float))
        expected = hung(turned[:, :, None], affine)
        grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:-36], expected.shape[::-1])
        assert np.corrcoef(grey.ravel(), expected.ravel())[0, 1] > 0.5
    assert np.abs(shown[0] - shown[1]).mean() < 6
    assert np.abs(shown[0] - shown[2]).mean() < 6


def test_no_skin_and_a_video_have_no_explanation(predictor: Predictor) -> None:
    flat = nib.Nifti1Image(np.zeros((16, 16), np.int16), np.eye(4)).to_bytes()
    with pytest.raises(BadInput, match="no skin"):
        explain(predictor, flat)
    clip = Clip(b"", 64, 48, 0, 10, 25.0, 0.4, audio=False)
    seen = predictor(make_scan(3, (64, 48)))
    with pytest.raises(BadInput, match="video"):
        explain(predictor, b"", Prediction(clip, seen.result, {}, {}, seen.embedding, {}))


def test_the_network_is_asked_a_bounded_number_of_times_in_bounded_batches() -> None:
    spec = catalog.get("suspect_classification")
    sample = spec.inference.decode(_jpeg(backdrop(np.random.default_rng(2), 300, 200)), 10**6)
    prepared = spec.inference.preprocess(sample, {"image_size": 96})
    network = Looking.over(spec, prepared, 0)
    prediction = network.predict(sample, {"classes": spec.classes})
    network.asked.clear()
    explain(network.as_predictor(), b"", prediction)
    assert sum(network.asked) == COPIES + 1
    assert max(network.asked) <= CHUNK


def test_a_network_that_looks_at_nothing_is_cold_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = catalog.get("suspect_classification")
    sample = spec.inference.decode(_jpeg(backdrop(np.random.default_rng(2), 300, 200)), 10**6)
    prepared = spec.inference.preprocess(sample, {"image_size": 96})
    network = Looking.over(spec, prepared, 0)
    prediction = network.predict(sample, {"classes": spec.classes})
    monkeypatch.setattr("tests.registry.looking.variety", lambda batch, at: np.ones(len(batch), np.float32))
    found = explain(network.as_predictor(), b"", prediction)
    assert found.loss == 0
    assert not found.heat.any()


@pytest.mark.parametrize("box", [(0, 0, 128, 128), (0, 20, 128, 108), (60, 0, 64, 128), (0, 63, 128, 64)])
def test_windows_cover_their_rectangle_and_nothing_else(box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    windows = Windows.over(box, (128, 128))
    assert (windows.down.max(axis=0) > 0.4).all()
    assert (windows.across.max(axis=0) > 0.4).all()
    element = np.random.default_rng(0).random((3, 128, 128)).astype(np.float32)
    kept = element.copy()
    copies = np.concatenate(list(windows.occlude(element)))
    assert (element == kept).all()
    assert copies.shape == (COPIES, 3, 128, 128)
    changed = (copies != element).any(axis=(0, 1))
    assert changed[y1:y2, x1:x2].mean() > 0.99
    changed[y1:y2, x1:x2] = False
    assert not changed.any()
    assert np.isfinite(windows.spread(np.eye(GRID, dtype=np.float32))).all()


def test_the_heat_of_one_window_is_where_that_window_is() -> None:
    windows = Windows.over((0, 0, 160, 160), (160, 160))
    lost = np.zeros((GRID, GRID), np.float32)
    lost[2, 5] = 1
    heat = windows.spread(lost)
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    assert (row + 0.5) / heat.shape[0] == pytest.approx(2.5 / GRID, abs=0.5 / GRID)
    assert (column + 0.5) / heat.shape[1] == pytest.approx(5.5 / GRID, abs=0.5 / GRID)


def _jpeg(pixels: ByteArray) -> bytes:
    return module.to_jpeg(pixels)
