"""The same picture in other bytes is found; other pictures of the same kind are not."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from registry.vision import look_alikes
from registry.vision.look_alikes import Fingerprint, fingerprint, pairs
from tests.registry.made import CLASSES, scene


def pixels(seed: int) -> np.ndarray:
    body, _ = scene(np.random.default_rng(seed), (CLASSES[seed % 3], CLASSES[(seed + 1) % 3]))
    return cv2.resize(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), (320, 240))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


CHANGES = {
    "re-encoded": lambda x: jpeg(x, 30),
    "brighter": lambda x: jpeg(cv2.convertScaleAbs(x, alpha=1.05, beta=12), 80),
    "darker": lambda x: jpeg(cv2.convertScaleAbs(x, alpha=0.85, beta=0), 80),
    "half the size": lambda x: jpeg(cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 85),
    "another white balance": lambda x: np.clip(x * np.array([0.92, 1.0, 1.08]), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_picture(change: str) -> None:
    originals = [pixels(seed) for seed in range(40)]
    copies = [CHANGES[change](image) for image in originals]
    found = set(pairs([fingerprint(one) for one in originals], [fingerprint(one) for one in copies]))
    assert found == {(n, n) for n in range(40)}


def test_other_pictures_of_one_generator_are_not_the_same() -> None:
    marks = [fingerprint(pixels(seed)) for seed in range(300)]
    assert not list(pairs(marks[:150], marks[150:]))


def test_one_fixed_camera_with_another_object_is_not_the_same() -> None:
    """The hash alone says that it is."""
    ground = pixels(5)
    first, second = ground.copy(), ground.copy()
    cv2.rectangle(first, (30, 40), (75, 90), (250, 250, 250), -1)
    cv2.rectangle(second, (220, 130), (265, 180), (250, 250, 250), -1)
    assert not list(pairs([fingerprint(first)], [fingerprint(second)]))


def test_flat_pictures_are_like_nothing() -> None:
    flat = [fingerprint(np.full((50, 50, 3), value, np.uint8)) for value in (0, 90, 255)]
    assert not list(pairs(flat, flat))
    assert not list(pairs([], flat))


def test_comparing_with_a_great_many_takes_a_bounded_memory() -> None:
    """All thumbnails at once would be 49 MB as float32; all are as near as hashes tell."""
    rng = np.random.default_rng(0)
    thumbs = rng.standard_normal((4000, look_alikes.SIDE**2 * 3), dtype=np.float32)
    right = [Fingerprint(0, (one / np.linalg.norm(one)).astype(np.float16)) for one in thumbs]
    left = [right[3001], Fingerprint(0, right[3].thumb)]
    tracemalloc.start()
    try:
        assert list(pairs(left, right)) == [(0, 3001), (1, 3)]
        assert tracemalloc.get_traced_memory()[1] < 45e6
    finally:
        tracemalloc.stop()
