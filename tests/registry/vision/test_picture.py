"""Every good picture comes out as it went in, upright; and what a network is given of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from registry.core.errors import BadInput
from registry.vision.picture import Letterbox, decode, to_input, to_jpeg
from tests.registry.vision.pictures import GOOD, LIMIT, off, packed, saved, scene


@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_comes_out_as_it_went_in(kind: str) -> None:
    found = decode(GOOD[kind](scene()), LIMIT)
    assert found.pixels.shape == (60, 96, 3)
    assert found.pixels.flags.c_contiguous
    assert off(found.pixels, scene()) < 4
    assert found.format in kind


def test_rubbish_after_a_jpeg_is_harmless() -> None:
    assert off(decode(GOOD["JPEG"](scene()) + b"\0" * 999 + b"trailer", LIMIT).pixels, scene()) < 4


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_used_and_noted(name: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    body = saved(frames[0], name, save_all=True, append_images=frames[1:])
    found = decode(body, LIMIT)
    assert found.pixels.shape == (30, 40, 3)
    assert off(found.pixels, np.full((30, 40, 3), (0, 0, 250))) < 4
    assert found.notes == ("first page of several" if name == "TIFF" else "first frame of an animation",)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_applied(name: str, orientation: int) -> None:
    image = Image.fromarray(np.ascontiguousarray(scene()[..., ::-1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} | ({"lossless": True} if name == "WEBP" else {"quality": 95} if name == "JPEG" else {})
    body = saved(image, name, **options)
    with Image.open(io.BytesIO(body)) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))[..., ::-1]
    found = decode(body, LIMIT)
    assert found.pixels.shape == upright.shape
    assert off(found.pixels, upright) < 2
    assert (found.width, found.height) == ((96, 60) if orientation < 5 else (60, 96))


def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    body = packed(scene(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert off(decode(body, LIMIT).pixels, scene()) < 4


def test_jpeg_and_back() -> None:
    assert off(decode(to_jpeg(scene(), 95), LIMIT).pixels, scene()) < 3


def test_network_input_is_rgb_in_planes() -> None:
    given = to_input(scene())
    assert given.dtype == np.float32
    assert given.shape == (3, 60, 96)
    assert np.allclose(given[0], scene()[..., 2] / 255)
    assert np.allclose(given[2], scene()[..., 0] / 255)


@pytest.mark.parametrize(("width", "height"), [(96, 60), (60, 96), (320, 320), (1000, 10), (8, 3000), (333, 77)])
def test_a_letterbox_keeps_the_aspect_ratio_and_finds_the_way_back(width: int, height: int) -> None:
    box = Letterbox.of(width, height, 320)
    x1, y1, x2, y2 = box.inner
    assert max(x2 - x1, y2 - y1) == 320
    assert x1 == (320 - (x2 - x1)) // 2
    square = box.fit(np.full((height, width, 3), 7, dtype=np.uint8))
    assert square.shape == (320, 320, 3)
    assert (square[y1:y2, x1:x2] == 7).all()
    assert (square == 114).all(axis=2).sum() == 320 * 320 - (x2 - x1) * (y2 - y1)
    whole = np.array([[0, 0, width, height], [width / 4, height / 4, width / 2, height / 2]], np.float32)
    assert np.allclose(box.to_network(whole)[0], box.inner)
    assert np.allclose(box.to_picture(box.to_network(whole)), whole, atol=0.01)
    assert box.to_picture(np.array([[-50, -50, 999, 999]], np.float32)).tolist() == [[0, 0, width, height]]
    assert box.to_network(np.zeros((0, 4), np.float32)).shape == (0, 4)


KINDS_OF_JPEG: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "coarse": {"quality": 20},
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS_OF_JPEG)
def test_a_jpeg_without_its_end_marker_is_whole_unless_pixels_are_missing(kind: str, mode: str) -> None:
    for height in (60, 61, 75, 90):
        whole = packed(scene(height), "JPEG", mode, **KINDS_OF_JPEG[kind])
        pixels = decode(whole, LIMIT).pixels
        for body in (whole[:-2], whole[:-1], whole[:-2] + bytes(600)):
            found = decode(body, LIMIT)
            assert (found.pixels == pixels).all()
            assert "the JPEG's end-of-image marker was missing; its pixels are complete" in found.notes
        for lost in (5, 20, 100, 200):
            for body in (whole[: -2 - lost], whole[: -2 - lost] + bytes(600)):
                with pytest.raises(BadInput, match="truncated"):
                    decode(body, LIMIT)
