"""Pictures into masks: geometry, answers, metrics, labels and pictures."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import orjson
import pytest
from PIL import Image

from registry.cases import mask_labels
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import BadInput
from registry.core.media import Picture
from registry.vision.picture import decode, to_jpeg
from registry.vision_tasks import segmentation
from registry.vision_tasks.masks import TrueMask
from registry.vision_tasks.segmentation import Segments
from registry.vision_tasks.segmenter import segmenter

SPEC = ModelSpec(
    "roads", "Roads", "segmentation", "torch", ("road", "car"), Metric("dice", "Dice", 0.5), Budget(99, 99)
)
MODEL = segmenter(SPEC)
WIDTH, HEIGHT = 200, 120
CONSTANTS, THRESHOLDS = {"image_size": 64}, {"probability": 0.5, "classes": SPEC.classes}


def true_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[60:], mask[70:100, 40:90] = 1, 2
    return mask


def sample() -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def right() -> tuple[Picture, Segments]:
    """The answer of a network that is right about every pixel of its own grid."""
    prepared = MODEL.inference.preprocess(sample(), CONSTANTS)
    square = segmentation.fit(true_mask(), prepared.context.letterbox, 2)
    logits = 12 * (segmentation.one_hot(square, 2) - 0.5)
    result = MODEL.inference.postprocess({"mask": logits[None]}, prepared, THRESHOLDS)
    assert isinstance(result, Segments)
    return sample(), result


def test_a_right_network_gets_a_right_mask_back() -> None:
    _, result = right()
    assert result.mask.shape == (HEIGHT, WIDTH)
    assert MODEL.score.score([result], [TrueMask(true_mask())]) > 0.95
    answer = orjson.loads(orjson.dumps(result.to_json()))
    assert (answer["width"], answer["height"]) == (WIDTH, HEIGHT)
    assert [(one["name"], one["value"]) for one in answer["classes"]] == [("road", 1), ("car", 2)]
    assert sum(one["pixels"] for one in answer["classes"]) == np.count_nonzero(result.mask)
    statistics = result.statistics()
    assert statistics["share_car"] == pytest.approx((true_mask() == 2).mean(), rel=0.1)
    assert np.isfinite(list(statistics.values())).all()


def test_a_whole_test_part_of_large_masks_fits_into_memory() -> None:
    """Each mask of 12 megapixels is 12 MB, and a case has two."""
    mask = np.zeros((3000, 4000), np.uint8)
    cv2.circle(mask, (1500, 1500), 900, 1, -1)
    cv2.circle(mask, (3000, 900), 300, 2, -1)
    shifted = np.roll(mask, 40, axis=1)
    whole = Segments(mask, SPEC.classes), TrueMask(shifted)
    tracemalloc.start()
    try:
        kept = [
            (MODEL.score.compact(Segments(mask.copy(), SPEC.classes)), MODEL.score.compact(TrueMask(shifted.copy())))
            for _ in range(10)
        ]
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()
    result, true = kept[0]
    assert MODEL.score.score([result], [true]) == MODEL.score.score([whole[0]], [whole[1]])
    assert (result.mask == mask).all()
    assert result.to_json() == whole[0].to_json()
    picture = Picture(np.zeros((3000, 4000, 3), np.uint8))
    assert MODEL.render.picture(picture, result, true) == MODEL.render.picture(picture, *whole)


def test_the_threshold_and_the_stronger_class_decide() -> None:
    prepared = MODEL.inference.preprocess(sample(), CONSTANTS)
    logits = np.full((1, 2, 64, 64), -9, np.float32)
    logits[:, 0, :, :32], logits[:, 1, :, 16:48] = 1, 2
    for chance, wanted in ((0.5, [1, 2, 2, 0]), (0.8, [0, 2, 2, 0]), (0.9, [0, 0, 0, 0])):
        found = MODEL.inference.postprocess({"mask": logits}, prepared, {**THRESHOLDS, "probability": chance})
        assert isinstance(found, Segments)
        assert [int(found.mask[HEIGHT // 2, x]) for x in (10, 75, 125, 190)] == wanted


def test_nothing_found_is_an_answer_but_has_no_explanation() -> None:
    prepared = MODEL.inference.preprocess(sample(), CONSTANTS)
    nothing = MODEL.inference.postprocess({"mask": np.full((1, 2, 64, 64), -9.0)}, prepared, THRESHOLDS)
    assert np.isfinite(list(nothing.statistics().values())).all()
    assert MODEL.render.picture(sample(), nothing).startswith(b"\xff\xd8")
    with pytest.raises(BadInput, match="nothing was found"):
        MODEL.inference.focus(sample(), prepared, nothing)


@pytest.mark.parametrize(("metric", "half"), [("dice", 2 * 50 / 150), ("iou", 50 / 100)])
def test_the_metric_is_the_mean_over_cases_of_the_classes_that_a_case_has(metric: str, half: float) -> None:
    score = segmenter(replace(SPEC, metric=Metric(metric, metric, 0.5))).score
    none, road, left = (np.zeros((10, 10), np.uint8) for _ in range(3))
    road[:], left[:, :5] = 1, 1
    results = [Segments(one, SPEC.classes) for one in (none, left, road)]
    truths = [TrueMask(one) for one in (none, road, road)]
    assert score.score(results, truths) == pytest.approx((1 + half + 1) / 3)
    assert score.per_class(results, truths) == {"road": pytest.approx((half + 1) / 2)}
    car = left + left  # half of it is the other class
    assert score.score([Segments(car, SPEC.classes)], [TrueMask(left)]) == 0
    with pytest.raises(BadInput, match="10 x 10 pixels"):
        score.score([Segments(true_mask(), SPEC.classes)], truths[:1])


def test_the_mask_that_is_answered_is_a_label_that_can_be_sent_back() -> None:
    picture, result = right()
    png = MODEL.render.FORMATS["image/png"](picture, result)
    MODEL.score.check(png, to_jpeg(picture.pixels)[: 1 << 16])
    assert (MODEL.score.truth(png).mask == result.mask).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_label_must_be_of_the_size_that_a_person_sees(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(sample().pixels).save(stream, "JPEG", exif=exif)
    seen = decode(stream.getvalue(), 10**6)
    for height, width in ((HEIGHT, WIDTH), (WIDTH, HEIGHT)):
        png = mask_labels.encode(np.ones((height, width), np.uint8), 2)
        if (height, width) == (seen.height, seen.width):
            MODEL.score.check(png, stream.getvalue()[: 1 << 14])
        else:
            with pytest.raises(BadInput, match="the label has"):
                MODEL.score.check(png, stream.getvalue()[: 1 << 14])


def test_a_label_of_greys_is_refused_where_it_is_given() -> None:
    grey = cv2.imencode(".png", np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1)))[1].tobytes()
    score = segmenter(replace(SPEC, classes=("road",))).score
    with pytest.raises(BadInput, match="greys"):
        score.check(grey, to_jpeg(sample().pixels))
    assert score.LABEL.startswith("a PNG mask")


def test_the_picture_shows_each_class_and_the_truth_where_it_differs() -> None:
    picture, result = right()
    dark = Picture(picture.pixels // 8)
    plain, drawn, both = (
        cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).astype(int)
        for body in (
            MODEL.render.picture(dark),
            MODEL.render.picture(dark, result),
            MODEL.render.picture(dark, result, TrueMask(np.roll(true_mask(), 20, 0))),
        )
    )
    change = np.abs(drawn[: plain.shape[0]] - plain).sum(axis=2) > 30
    scale = plain.shape[0] / HEIGHT
    assert change[int(110 * scale), int(20 * scale)]
    assert change[int(85 * scale), int(60 * scale)]
    assert not change[int(20 * scale), int(100 * scale)]
    green = [((one[..., 1] - np.maximum(one[..., 0], one[..., 2])) > 60).sum() for one in (drawn, both)]
    assert green[1] > green[0] + 100
