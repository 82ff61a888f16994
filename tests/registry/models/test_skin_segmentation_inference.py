"""From file to answer: geometry that holds for every orientation, statistics that move when the scanner does."""

from __future__ import annotations

import gzip
import itertools
import json
import math

import cv2
import nibabel as nib
import numpy as np
import pytest

from registry.core.errors import BadInput, NotFound
from registry.core.media import Volume
from registry.models.skin_segmentation import SPEC, nifti
from registry.models.skin_segmentation.inference import DEFAULTS, Frame, SkinResult, prepare_truth, slice_axis
from registry.vision import drawing
from registry.vision_tasks.masks import TrueMask

data = SPEC.data
inference = SPEC.inference
render = SPEC.render
score = SPEC.score
shift = SPEC.shift
THRESHOLDS = {"probability": 0.5}
STREAM = data.synthesise_stream(8, 11)


def oracle(sample: Volume, mask: np.ndarray) -> SkinResult:
    """The answer of a network that is right about every pixel of its own grid."""
    prepared = inference.preprocess(sample, DEFAULTS)
    logits = 12 * (prepare_truth(mask, prepared) - 0.5)
    return inference.postprocess({"mask": logits}, prepared, THRESHOLDS)


@pytest.mark.parametrize("item", STREAM, ids=lambda item: item.id)
def test_a_right_network_gets_a_right_mask_back(item: data.Labelled) -> None:
    sample, true = inference.decode(item.input, 10**7), score.truth(item.truth)
    result = oracle(sample, true.mask)
    assert result.mask.shape == sample.voxels.shape
    assert result.mask.dtype == np.uint8
    assert score.score([result], [true]) > 0.96
    answer = json.loads(json.dumps(result.to_json()))
    assert answer["volume_mm3"] == pytest.approx(int(result.mask.sum()) * math.prod(sample.spacing))
    assert answer["foreground_share"] == pytest.approx(result.mask.mean())
    thickness = sample.spacing[answer["slice_axis"]]
    assert sum(answer["slice_area_mm2"]) * thickness == pytest.approx(answer["volume_mm3"], rel=1e-4)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_the_stored_order_of_the_axes_does_not_matter(order: tuple[int, ...], flip: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    voxels = np.flip(rng.integers(0, 900, (40, 30, 6)).transpose(order), flip).astype(np.int16)
    spacing = np.array([1.0, 1.5, 4.0])[list(order)]
    sample = nifti.read(nib.Nifti1Image(voxels, np.diag([*spacing, 1])).to_bytes(), 10**6)
    prepared = inference.preprocess(sample, DEFAULTS)
    assert slice_axis(sample) == order.index(2)
    assert prepared.batch.shape == (6, 1, 128, 128)
    mask = (voxels > 450).astype(np.uint8)
    mask = cv2.blur(mask.astype(np.float32), (1, 1)) > 0.5
    result = oracle(sample, mask.astype(np.uint8))
    assert result.mask.shape == voxels.shape
    assert score.score([result], [TrueMask(mask.astype(np.uint8))]) > 0.9


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((9, 8, 7), (1, 1, 1), 2),
        ((9, 8, 7), (3, 1, 3), 2),
        ((9, 8, 7), (1, 3, 1), 1),
        ((1, 8, 7), (0.1, 3, 1), 0),
        ((8, 7), (9, 1, 1), 2),
    ],
)
def test_slices_are_cut_across_the_coarsest_axis(shape: tuple[int, ...], spacing: tuple[float, ...], axis: int) -> None:
    image = nib.Nifti1Image(np.ones(shape, np.int16), np.diag([*spacing, 1.0]))
    assert slice_axis(nifti.read(image.to_bytes(), 10**6)) == axis


def test_pictures_keep_their_proportions_and_lie_in_the_middle() -> None:
    image = nib.Nifti1Image(np.full((100, 50), 7, np.int16), np.diag([1.0, 4, 1, 1]))
    image.dataobj[0, 0] = 0
    frame = Frame.of(nifti.read(image.to_bytes(), 10**6), 128)
    assert (frame.height, frame.width, frame.top, frame.left) == (64, 128, 32, 0)


@pytest.mark.parametrize("value", [0, 5, -3])
def test_a_constant_image_has_no_skin(value: int) -> None:
    sample = nifti.read(nib.Nifti1Image(np.full((30, 20, 3), value, np.int16), np.eye(4)).to_bytes(), 10**6)
    prepared = inference.preprocess(sample, DEFAULTS)
    result = inference.postprocess({"mask": np.full((3, 1, 128, 128), 9.0)}, prepared, THRESHOLDS)
    assert not result.mask.any()
    for numbers in (result.statistics(), inference.image_statistics(sample)):
        assert all(math.isfinite(n) for n in numbers.values())


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 300, 1), (3, 3), (500, 4, 2)])
def test_odd_sizes_are_taken(shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).random(shape).astype(np.float32)
    sample = nifti.read(nib.Nifti1Image(voxels, np.eye(4)).to_bytes(), 10**6)
    prepared = inference.preprocess(sample, DEFAULTS)
    assert np.isfinite(prepared.batch).all()
    assert prepared.batch.min() >= 0
    assert prepared.batch.max() <= 1
    result = inference.postprocess({"mask": prepared.batch * 4 - 2}, prepared, THRESHOLDS)
    assert result.mask.shape == sample.voxels.shape
    assert all(math.isfinite(n) for n in (inference.image_statistics(sample) | result.statistics()).values())
    assert render.picture(sample, result)[:2] == b"\xff\xd8"


@pytest.mark.parametrize("item", [STREAM[0], STREAM[7]], ids=["2-D", "3-D"])
@pytest.mark.parametrize("how", shift.HOW)
def test_shifts_move_a_statistic_and_keep_the_geometry(item: data.Labelled, how: str) -> None:
    before = inference.decode(item.input, 10**7)
    body = shift.shift(item.input, how, 0.8, 3)
    assert body == shift.shift(item.input, how, 0.8, 3)
    after = inference.decode(body, 10**7)
    assert after.voxels.shape == before.voxels.shape
    assert after.ndim == before.ndim
    np.testing.assert_array_equal(after.affine, before.affine)
    assert nib.Nifti1Image.from_bytes(gzip.decompress(body)).get_data_dtype() == np.int16
    usual = [inference.image_statistics(inference.decode(other.input, 10**7)) for other in STREAM]
    moved = inference.image_statistics(after)
    expected = {
        "bias-field": "contrast",
        "noise": "noise",
        "contrast": "brightness",
        "resolution": "sharpness",
        "inversion": "polarity",
    }[how]
    values = [one[expected] for one in usual]
    assert not min(values) <= moved[expected] <= max(values)


def test_shifts_grow_with_severity_and_stay_in_the_data_type() -> None:
    sample = inference.decode(STREAM[0].input, 10**7)
    for how in shift.HOW:
        distance = [
            np.abs(inference.decode(shift.shift(STREAM[0].input, how, s, 1), 10**7).voxels - sample.voxels).mean()
            for s in (0.1, 0.5, 1.0)
        ]
        assert 0 < distance[0] < distance[1] < distance[2], how
    plain = gzip.decompress(STREAM[0].input)
    assert shift.shift(plain, "noise", 0.3, 1)[:4] == plain[:4], "an unpacked file stays unpacked"


@pytest.mark.parametrize("severity", [0.0, -1, 1.5, math.nan])
def test_shift_refuses_severities_out_of_range(severity: float) -> None:
    with pytest.raises(ValueError, match="severity"):
        shift.shift(STREAM[0].input, "noise", severity, 0)


def test_shift_refuses_kinds_it_does_not_know() -> None:
    with pytest.raises(NotFound, match="bias-field"):
        shift.shift(STREAM[0].input, "fog", 0.5, 0)


def test_a_label_of_another_shape_is_refused() -> None:
    sample, true = inference.decode(STREAM[0].input, 10**7), score.truth(STREAM[1].truth)
    with pytest.raises(BadInput, match="voxels"):
        score.score([oracle(sample, score.truth(STREAM[0].truth).mask)], [true])


@pytest.mark.parametrize("item", [STREAM[0], STREAM[7]], ids=["2-D", "3-D"])
def test_the_mask_file_lies_where_the_input_lies(item: data.Labelled) -> None:
    sample, true = inference.decode(item.input, 10**7), score.truth(item.truth)
    result = oracle(sample, true.mask)
    body = render.FORMATS["application/x-nifti"](sample, result)
    mask, image = (nib.Nifti1Image.from_bytes(gzip.decompress(raw)) for raw in (body, item.input))
    assert mask.shape == image.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj).reshape(result.mask.shape), result.mask)


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("item", [STREAM[0], STREAM[7]], ids=["2-D", "3-D"])
def test_pictures_are_large_enough_and_show_the_mask(item: data.Labelled) -> None:
    sample, true = inference.decode(item.input, 10**7), score.truth(item.truth)
    result = oracle(sample, true.mask)
    plain, drawn = decoded(render.picture(sample)), decoded(render.FORMATS["image/jpeg"](sample, result))
    assert plain.shape == drawn.shape
    assert max(drawn.shape) >= 512
    colour = drawn.astype(int)
    orange = ((colour[..., 2] - colour[..., 0]) > 40)[:-40]
    assert 0.02 < orange.mean() < 0.3
    both = decoded(render.picture(sample, result, true)).astype(int)
    wrong = SkinResult.of(np.roll(result.mask, 9, 0), sample)
    off = decoded(render.picture(sample, wrong, true)).astype(int)
    green = [((one[..., 1] - np.maximum(one[..., 0], one[..., 2])) > 40).sum() for one in (both, off)]
    assert green[1] > 3 * green[0], "a wrong prediction leaves the truth's outline to be seen"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_pictures_hang_as_radiologists_expect(order: tuple[int, int], signs: tuple[int, int]) -> None:
    """A bright spot at the patient's front left stands at the top right, however the axes were stored."""
    world = np.zeros((64, 64), np.int16)
    world[54:59, 54:59] = 100  # L is -x, so x high is the right side: mirror it to the left
    world = world[::-1]
    stored = np.flip(world.transpose(order), [n for n in (0, 1) if signs[n] < 0])
    affine = np.eye(4)
    affine[:2, :2] = (np.eye(2)[:, list(order)]) * np.array(signs)
    sample = nifti.read(nib.Nifti1Image(np.ascontiguousarray(stored), affine).to_bytes(), 10**6)
    grey = decoded(render.picture(sample))[:640, :640].max(axis=2).astype(float)
    grey[:40], grey[-40:], grey[:, :40], grey[:, -40:] = 0, 0, 0, 0  # the letters
    row, column = np.unravel_index(cv2.GaussianBlur(grey, (0, 0), 3).argmax(), grey.shape)
    assert row < 200
    assert column > 440


@pytest.mark.parametrize("item", [STREAM[0], STREAM[7]], ids=["2-D", "3-D"])
def test_the_heat_map_and_the_mask_of_a_scan_can_be_params_with_each_other(item: data.Labelled) -> None:
    sample, true = inference.decode(item.input, 10**7), score.truth(item.truth)
    prepared = inference.preprocess(sample, DEFAULTS)
    result = oracle(sample, true.mask)
    _, shown, _ = inference.focus(sample, prepared, result)
    heat = drawing.add_heat_scale(render.upright(drawing.enlarge(shown)[0], sample))
    assert heat.shape == decoded(render.picture(sample, result)).shape
