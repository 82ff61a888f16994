"""Starter-data scenes: the same for a seed, varied between seeds."""

from __future__ import annotations

import numpy as np
import pytest

from registry.scenes import backdrop as module
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import lay, photograph
from registry.scenes.colours import paint


def test_a_seed_gives_the_same_scene_and_photograph() -> None:
    def once() -> bytes:
        rng = np.random.default_rng([7, 1])
        return photograph(rng, backdrop(rng, 160, 120)).tobytes()

    assert once() == once()


@pytest.mark.parametrize("size", [(8, 8), (20, 300), (400, 24), (128, 128), (321, 243)])
def test_every_kind_of_scene_fills_any_size(size: tuple[int, int]) -> None:
    for make in module.SCENES:
        for seed in range(3):
            assert make(np.random.default_rng(seed), *size).shape == (size[1], size[0], 3), make.__name__
    for seed in range(10):
        found = backdrop(np.random.default_rng(seed), *size)
        assert found.shape == (size[1], size[0], 3)
        assert found.dtype == np.uint8


def test_scenes_differ_in_light_colour_and_detail() -> None:
    scenes = [backdrop(np.random.default_rng(n), 96, 96).astype(float) for n in range(60)]
    assert np.std([one.mean() for one in scenes]) > 25
    assert np.std([one.mean(axis=(0, 1))[2] - one.mean(axis=(0, 1))[0] for one in scenes]) > 15
    assert np.std([np.abs(np.diff(one, axis=0)).mean() for one in scenes]) > 1
    assert all(one.std() > 1 for one in scenes)


def test_a_photograph_is_mild() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = backdrop(rng, 120, 90)
        taken = photograph(rng, scene)
        assert taken.shape == scene.shape
        assert 0.5 < np.abs(taken.astype(float) - scene).mean() < 60
        if scene.std() > 20:
            assert np.corrcoef(taken.ravel(), scene.ravel())[0, 1] > 0.85


def test_a_shape_is_laid_where_its_mask_is_and_leaves_the_rest() -> None:
    image = np.full((60, 80, 3), 100, np.float32)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:30, 30:50] = 255
    over = lay(image, mask, np.array([0, 0, 255], np.float32), shadow=0.5)
    assert over[25, 40].tolist() == pytest.approx([0, 0, 255], abs=1)
    assert (over[:10] == 100).all()
    assert over[31, 51].mean() < 97, "its shadow falls below right"
    assert over[18, 28].mean() > 99, "not above left"
    assert (image == 100).all()
    assert lay(image, np.zeros_like(mask), paint(np.random.default_rng(0))) is image
