"""Picture statistics move with what they are named for, and stay with what they are not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from registry.core.media import ByteArray
from registry.scenes.backdrop import backdrop
from registry.vision import shifts
from registry.vision.picture import decode, to_jpeg
from registry.vision.statistics import PLAUSIBLE, picture_statistics


def scene(seed: int = 1) -> ByteArray:
    return backdrop(np.random.default_rng(seed), 320, 240)


@pytest.mark.parametrize("shape", [(8, 8), (9, 400), (400, 9), (100, 17), (240, 320), (1100, 1300), (600, 5000)])
@pytest.mark.parametrize("value", [0, 255, None])
def test_every_picture_has_the_same_finite_numbers(shape: tuple[int, int], value: int | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = picture_statistics(noise if value is None else np.full_like(noise, value))
    assert list(found) == list(picture_statistics(scene()))
    assert all(type(one) is float and math.isfinite(one) for one in found.values())


@pytest.mark.parametrize(
    ("how", "name", "sign"),
    [
        ("night", "brightness", -1),
        ("fog", "sharpness", -1),
        ("blur", "sharpness", -1),
        ("sensor-noise", "noise", 1),
        ("low-resolution", "sharpness", -1),
        ("glare", "brightness", 1),
    ],
)
def test_a_shift_moves_the_statistic_it_is_about(how: str, name: str, sign: int) -> None:
    for seed in range(8):
        before = picture_statistics(scene(seed))[name]
        after = picture_statistics(shifts.apply(scene(seed), how, 0.8, seed))[name]
        assert sign * (after - before) > 0.1 * abs(before), seed


def test_another_camera_moves_warmth_one_way_or_the_other() -> None:
    for seed in range(8):
        moved = picture_statistics(shifts.apply(scene(seed), "camera", 0.8, seed))["warmth"]
        assert abs(moved - picture_statistics(scene(seed))["warmth"]) > 0.3


def test_blocks_of_hard_compression_are_seen() -> None:
    for seed in range(8):
        soft, hard = (decode(to_jpeg(scene(seed), quality), 10**7).pixels for quality in (97, 8))
        assert picture_statistics(hard)["blockiness"] > picture_statistics(soft)["blockiness"] + 0.1


def test_noise_is_measured_in_grey_levels_and_edges_are_not_noise() -> None:
    rng = np.random.default_rng(0)
    for sigma in (2.0, 6.0, 15.0):
        grey = np.clip(128 + rng.normal(0, sigma, (300, 300, 1)), 0, 255).repeat(3, axis=2)
        assert picture_statistics(np.rint(grey).astype(np.uint8))["noise"] == pytest.approx(sigma, rel=0.1)
    edges = np.kron(rng.integers(0, 2, (20, 20, 1)) * 200, np.ones((16, 16, 3))).astype(np.uint8)
    assert picture_statistics(edges)["noise"] < 0.2


def test_a_red_picture_is_warm_and_a_green_one_tinted() -> None:
    red, green = (np.full((60, 60, 3), colour, np.uint8) for colour in ((60, 90, 180), (90, 200, 90)))
    assert picture_statistics(red)["warmth"] == pytest.approx(math.log(181 / 61))
    assert picture_statistics(green)["tint"] == pytest.approx(math.log(201 / 91))
    assert picture_statistics(green)["warmth"] == 0


def test_dark_corners_are_vignetting() -> None:
    y, x = np.linspace(-1, 1, 200)[:, None], np.linspace(-1, 1, 300)[None, :]
    disc = (200 * (1 - 0.4 * (x * x + y * y) / 2))[:, :, None].repeat(3, axis=2).astype(np.uint8)
    assert picture_statistics(disc)["vignetting"] < -0.2
    assert abs(picture_statistics(np.full((200, 300, 3), 120, np.uint8))["vignetting"]) < 0.01


def test_tiles_of_a_large_picture_say_what_the_whole_does() -> None:
    large = cv2.resize(scene(), (1600, 1200), interpolation=cv2.INTER_CUBIC)
    large = np.clip(large + np.random.default_rng(0).normal(0, 6, large.shape), 0, 255).astype(np.uint8)
    small = large[:500, :500]  # below the size from which tiles are taken
    whole, part = picture_statistics(large), picture_statistics(small)
    assert whole["noise"] == pytest.approx(part["noise"], rel=0.1)


@pytest.mark.parametrize(("value", "breaks"), [(0, {"brightness", "contrast"}), (255, {"brightness", "contrast"})])
def test_a_dead_camera_is_not_plausible(value: int, breaks: set[str]) -> None:
    found = picture_statistics(np.full((100, 100, 3), value, np.uint8))
    assert {name for name, (low, high, _) in PLAUSIBLE.items() if not low <= found[name] <= high} == breaks


def test_ordinary_scenes_are_plausible() -> None:
    for seed in range(20):
        found = picture_statistics(scene(seed))
        assert all(low <= found[name] <= high for name, (low, high, _) in PLAUSIBLE.items())
