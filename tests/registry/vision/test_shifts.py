"""Shifts are repeatable, move what they should, and leave geometry alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from registry.core.errors import BadInput, NotFound
from registry.core.media import ByteArray
from registry.scenes.backdrop import backdrop
from registry.vision import shifts
from registry.vision.picture import decode, to_jpeg

LIMIT = 10**7


def scene(width: int = 200, height: int = 150) -> ByteArray:
    """A backdrop with a bright square whose place is known: (120, 40) to (160, 80)."""
    pixels = backdrop(np.random.default_rng(3), width, height) // 3
    pixels[40:80, 120:160] = (230, 235, 240)
    return pixels


@pytest.mark.parametrize("how", shifts.HOW)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(how: str) -> None:
    body = to_jpeg(scene())
    once = shifts.shift(body, how, 0.7, 5)
    assert once == shifts.shift(body, how, 0.7, 5)
    assert len({shifts.shift(body, how, 0.7, seed) for seed in range(6)}) > 1
    assert once.startswith(b"\xff\xd8")


@pytest.mark.parametrize("how", shifts.HOW)
def test_the_picture_keeps_its_size_and_things_their_place(how: str) -> None:
    found = decode(shifts.shift(to_jpeg(scene()), how, 0.8, 1), LIMIT).pixels
    assert found.shape == (150, 200, 3)
    grey = cv2.GaussianBlur(cv2.cvtColor(found, cv2.COLOR_BGR2GRAY), (0, 0), 2).astype(float)
    template = np.zeros((48, 48), np.float32)
    template[4:44, 4:44] = 1
    fit = cv2.matchTemplate(grey.astype(np.float32), template, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(fit.argmax()), fit.shape)
    assert abs(x - 116) <= 3
    assert abs(y - 36) <= 3


@pytest.mark.parametrize("how", shifts.HOW)
def test_more_severe_is_further_from_the_original(how: str) -> None:
    body = to_jpeg(scene(), 95)
    whole = decode(body, LIMIT).pixels.astype(float)
    away = [
        np.mean([np.abs(decode(shifts.shift(body, how, s, n), LIMIT).pixels - whole).mean() for n in range(3)])
        for s in (0.1, 0.5, 1.0)
    ]
    assert away[0] < away[1] < away[2]
    assert away[2] > 2


@pytest.mark.parametrize("how", shifts.HOW)
@pytest.mark.parametrize("size", [(8, 8), (9, 300), (300, 9)])
def test_small_and_narrow_pictures_are_shifted_too(how: str, size: tuple[int, int]) -> None:
    pixels = backdrop(np.random.default_rng(1), *size)
    assert shifts.apply(pixels, how, 1.0, 2).shape == pixels.shape


def test_a_grey_upside_down_png_comes_back_upright() -> None:
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(scene()[..., 0]).save(stream, "PNG", exif=exif)
    assert decode(shifts.shift(stream.getvalue(), "night", 0.5, 1), LIMIT).pixels.shape == (200, 150, 3)


def test_a_model_offers_its_own_selection() -> None:
    kinds = {"fog": "only this"}
    assert shifts.shift(to_jpeg(scene()), "fog", 0.5, 1, kinds) == shifts.shift(to_jpeg(scene()), "fog", 0.5, 1)
    with pytest.raises(NotFound, match="night") as caught:
        shifts.shift(to_jpeg(scene()), "night", 0.5, 1, kinds)
    assert caught.value.expected == "one of fog"


@pytest.mark.parametrize("severity", [0, -1, 1.01, float("nan")])
def test_a_severity_out_of_range_is_an_error(severity: float) -> None:
    with pytest.raises(ValueError, match="severity"):
        shifts.shift(to_jpeg(scene()), "fog", severity, 1)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(BadInput):
        shifts.shift(b"no picture", "fog", 0.5, 1)
