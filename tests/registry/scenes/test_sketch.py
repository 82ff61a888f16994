"""Parts drawn in a picture: where, how thick, in what colour, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from registry.core.media import ByteArray, FloatArray
from registry.scenes.colours import Colour
from registry.scenes.sketch import Part, draw_parts

WIDTH, HEIGHT = 40, 30
Drawn = tuple[ByteArray, FloatArray]
RED: Colour = (20.0, 30.0, 200.0)
SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)


def draw(*parts: Part, size: float = 10, at: tuple[float, float] = (5, 8), seed: int = 3) -> Drawn:
    return draw_parts(np.random.default_rng(seed), parts, size * np.eye(2), np.array(at), (WIDTH, HEIGHT))


def test_a_filled_part_covers_its_pixels_and_no_others() -> None:
    mask, colours = draw(Part(SQUARE, RED))
    assert (mask.shape, mask.dtype, colours.shape, colours.dtype) == ((30, 40), np.uint8, (30, 40, 3), np.float32)
    assert (mask[9:17, 6:14] == 255).all()
    outside = np.ones_like(mask, dtype=bool)
    outside[7:20, 4:17] = False
    assert not mask[outside].any()
    assert not colours[outside].any()


def test_an_edge_is_covered_in_part_and_not_dark() -> None:
    mask, colours = draw(Part(SQUARE, RED), at=(5.5, 8.5))
    assert 0 < mask[12, 5] < 255
    np.testing.assert_allclose(colours[12, 5], colours[12, 10], rtol=0.02)


def test_light_falls_from_above_or_below_and_leaves_the_hue() -> None:
    _, colours = draw(Part(SQUARE, RED), seed=1)
    inside = colours[9:17, 6:14]
    assert len(np.unique(inside[:, 0, 2])) == 8
    np.testing.assert_allclose(inside[..., 0] / inside[..., 2], 20 / 200, rtol=1e-5)


@pytest.mark.parametrize("size", [10, 20])
def test_a_pen_is_as_wide_as_it_says_in_the_things_own_unit(size: float) -> None:
    mask, _ = draw(Part(np.array([(0, 0.5), (1, 0.5)]), RED, pen=0.2), size=size)
    assert mask[:, 5 + round(size / 2)].sum() / 255 == pytest.approx(0.2 * size, abs=0.6)


def test_a_later_part_lies_over_an_earlier_one() -> None:
    _, colours = draw(Part(SQUARE, RED), Part(SQUARE * 0.5, (200.0, 30.0, 20.0)))
    assert colours[10, 7, 0] > colours[10, 7, 2]
    assert colours[15, 13, 0] < colours[15, 13, 2]


def test_a_generators_state_gives_the_same_picture() -> None:
    (_, one), (_, two), (_, other) = (draw(Part(SQUARE, RED), seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
