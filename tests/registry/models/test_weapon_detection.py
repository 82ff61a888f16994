"""What is particular to weapon detection: its starter data and its shifts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from registry.contract import catalog
from registry.datasets.picture_set import Example
from registry.models.weapon_detection import scenes
from registry.scenes.firearms import HANDGUNS, LONG_GUNS
from registry.scenes.sketch import Thing
from registry.vision.picture import decode

MADE = 25


@pytest.fixture(scope="module")
def made() -> list[Example]:
    return [scenes.make(np.random.default_rng([3, n]), n) for n in range(MADE)]


def test_every_fifth_picture_has_no_firearm_and_the_others_nearly_always_one(made: list[Example]) -> None:
    counts = [len(one.truth) for one in made]
    assert all(count == 0 for count in counts[4::5])
    assert sum(count > 0 for count in counts) >= 0.7 * MADE
    assert max(counts) > 1


def test_boxes_lie_in_the_picture_and_are_large_enough_to_be_seen(made: list[Example]) -> None:
    for one in made:
        seen = decode(one.picture, 1_000_000)
        for true in one.truth:
            assert not isinstance(true, str)
            x1, y1, x2, y2 = true.box
            assert 0 <= x1 < x2 <= seen.width
            assert 0 <= y1 < y2 <= seen.height
            assert min(x2 - x1, y2 - y1) >= 6


@pytest.mark.parametrize("shape", [*HANDGUNS, *LONG_GUNS])
def test_a_box_is_tight_around_what_is_drawn(shape: Thing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid on an even ground without a camera, the pixels that differ are the firearm."""
    monkeypatch.setattr(scenes, "backdrop", lambda rng, width, height: np.full((height, width, 3), 255, np.uint8))
    monkeypatch.setattr(scenes, "photograph", lambda rng, image: image.astype(np.uint8))
    monkeypatch.setattr(scenes, "pick_shape", lambda rng, armed: (shape(rng) if armed else [], 0.5, 0.6))
    monkeypatch.setattr(scenes, "cover", lambda rng, image, mask: image)
    monkeypatch.setattr(scenes, "lay", lambda image, mask, colours, **_: np.where(mask[:, :, None] > 96, 0, image))
    monkeypatch.setattr(scenes, "QUALITY", 100)
    seed = next(seed for seed in range(50) if len(_alone(seed).truth) == 1)
    one = _alone(seed)
    dark = (cv2.cvtColor(decode(one.picture, 1_000_000).pixels, cv2.COLOR_BGR2GRAY) < 128).astype(np.uint8)
    x, y, wide, tall = cv2.boundingRect(dark)
    true = one.truth[0]
    assert not isinstance(true, str)
    np.testing.assert_allclose(true.box, [x, y, x + wide, y + tall], atol=1.01)


def _alone(seed: int) -> Example:
    """A picture in which only firearms can be: things of other kinds have no parts and find no place."""

    class Only(np.random.Generator):
        def integers(self, low: int, high: int | None = None, *args: object, **kwargs: object) -> object:
            return 0 if (low, high) == (0, 2) else super().integers(low, high, *args, **kwargs)  # type: ignore[arg-type]

    return scenes.make(Only(np.random.PCG64(seed)), 0)


def test_a_shift_leaves_the_labels_valid() -> None:
    spec = catalog.get("weapon_detection")
    item = spec.data.synthesise_stream(1, seed=4)[0]
    before = decode(item.input, 1_000_000)
    assert next(iter(spec.shift.HOW)) == "night"
    for how in spec.shift.HOW:
        after = decode(spec.shift.shift(item.input, how, 0.7, 1), 1_000_000)
        assert after.pixels.shape == before.pixels.shape
    dark = decode(spec.shift.shift(item.input, "night", 0.7, 1), 1_000_000)
    assert dark.pixels.mean() < 0.5 * before.pixels.mean()


def test_an_answer_says_where_the_firearm_is_and_draws_it() -> None:
    spec = catalog.get("weapon_detection")
    item = spec.data.synthesise_stream(1, seed=4)[0]
    sample = spec.inference.decode(item.input, 1_000_000)
    prepared = spec.inference.preprocess(sample, {"image_size": 160})
    predictions = np.array([[[40], [50], [90], [80], [0.87]]], np.float32)
    result = spec.inference.postprocess({"predictions": predictions}, prepared, {"score": 0.25, "iou": 0.6})
    answer = result.to_json()
    assert answer["counts"] == {"gun": 1}
    assert answer["detections"][0]["score"] == pytest.approx(0.87, abs=1e-4)
    drawn = decode(spec.render.FORMATS["image/jpeg"](sample, result), 10_000_000)
    bare = decode(spec.render.picture(sample), 10_000_000)
    assert np.abs(drawn.pixels.astype(int) - bare.pixels).max() > 100
    true = spec.score.truth(item.truth)
    assert spec.render.picture(sample, result, true) != spec.render.picture(sample, result)


def test_an_untrained_network_finds_none_of_the_starter_datas_firearms() -> None:
    from training.engines.engine_torch import TorchEngine
    from training.engines.select import hooks_of

    spec = catalog.get("weapon_detection")
    params = {"image_size": 160}
    hooks = hooks_of(spec)
    session = TorchEngine().session(hooks, TorchEngine().build(hooks, params, seed=1))
    items = spec.data.synthesise_stream(8, seed=2)
    prepared = [spec.inference.preprocess(spec.inference.decode(item.input, 1_000_000), params) for item in items]
    outputs = session(np.concatenate([one.batch for one in prepared]))
    results = [
        spec.inference.postprocess({k: v[n : n + 1] for k, v in outputs.items()}, one, hooks.thresholds(params))
        for n, one in enumerate(prepared)
    ]
    assert spec.score.score(results, [spec.score.truth(item.truth) for item in items]) < 0.1
