"""Samples of every depth, with and without alpha or a palette, become 8 bits in three channels, or are refused."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from registry.core.errors import BadInput
from registry.core.media import ByteArray
from registry.vision.picture import decode
from tests.registry.vision.pictures import LIMIT, off, packed, saved, scene


def test_cmyk_is_converted_and_noted() -> None:
    found = decode(packed(scene(), "JPEG", "CMYK"), LIMIT)
    assert "CMYK converted to RGB" in found.notes


def test_16_bits_are_noted_and_scaled_in_every_layout() -> None:
    grey = cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)
    deep = grey.astype(np.uint16) * 257
    bodies = [
        cv2.imencode(".png", deep)[1].tobytes(),
        cv2.imencode(".tiff", deep)[1].tobytes(),
        cv2.imencode(".png", cv2.cvtColor(deep, cv2.COLOR_GRAY2BGRA))[1].tobytes(),
    ]
    for body in bodies:
        found = decode(body, LIMIT)
        assert found.notes == ("16-bit samples reduced to 8 bits",)
        assert off(found.pixels, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)) <= 1


def test_floating_point_samples_have_no_8_bit_meaning() -> None:
    with pytest.raises(BadInput, match="floating-point") as caught:
        decode(saved(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF"), LIMIT)
    assert "8 bits" in caught.value.fix


def test_a_palette_with_transparency_lies_over_white() -> None:
    image = Image.fromarray(np.repeat([[0, 1, 2, 3]], 8, axis=0).repeat(3, axis=1).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    body = saved(image, "PNG", transparency=0)
    found = decode(body, LIMIT)
    assert found.pixels[0, 0].tolist() == [255, 255, 255]
    assert found.pixels[0, 4].tolist() == [0, 0, 255]
    assert found.notes == ("transparency laid over white",)


@pytest.mark.parametrize(("name", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")])
def test_transparency_lies_over_white(name: str, mode: str) -> None:
    image = Image.fromarray(scene()).convert(mode)
    image.putalpha(Image.fromarray(np.repeat([[0, 128, 255]], 60, axis=0).repeat(32, axis=1).astype(np.uint8)))
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    found = decode(saved(image, name, **options), LIMIT)
    rgb = np.asarray(image.convert("RGB"))[..., ::-1]
    assert (found.pixels[:, :30] == 255).all()
    assert off(found.pixels[:, 66:], rgb[:, 66:]) == 0
    assert off(found.pixels[:, 34:62], (rgb[:, 34:62] / 2 + 127)) < 2
    assert found.notes == ("transparency laid over white",)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("JPEG", "L"), ("PNG", "L"), ("PNG", "1"), ("TIFF", "1"), ("TIFF", "L"), ("BMP", "1"), ("GIF", "L")],
)
def test_grey_and_black_and_white_become_three_equal_channels(name: str, mode: str) -> None:
    image = Image.fromarray(np.ascontiguousarray(scene()[..., ::-1])).convert(mode)
    found = decode(saved(image, name), LIMIT)
    assert off(found.pixels, np.asarray(image.convert("RGB"))) < 2
    assert (found.pixels[..., 0] == found.pixels[..., 2]).all()


def tiff(samples: ByteArray | np.ndarray, bits: int, interpretation: int, order: str = "<", **more: int) -> bytes:
    """A grey TIFF of one strip. `samples` [H, W]; `format` is tag 339; `packed` 1: deflate."""
    height, width = samples.shape
    if bits in (8, 16, 32):
        raw = samples.astype(f"{order}u{bits // 8}").tobytes()
    else:
        rows = ["".join(f"{value:0{bits}b}" for value in row) for row in samples.tolist()]
        raw = b"".join(int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)
    if more.get("packed"):
        raw = zlib.compress(raw)
    raw += bytes(len(raw) % 2)
    tags = {256: width, 257: height, 258: bits, 259: 8 if more.get("packed") else 1, 262: interpretation, 273: 8,
            277: 1, 278: height, 279: len(raw)}  # fmt: skip
    if "format" in more:
        tags[339] = more["format"]
    body = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(raw)) + raw
    body += struct.pack(f"{order}H", len(tags))
    return body + b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4)


@pytest.mark.parametrize("packed", [0, 1])
@pytest.mark.parametrize(
    ("bits", "order"), [(1, "<"), (2, "<"), (4, "<"), (8, "<"), (12, "<"), (16, "<"), (1, ">"), (8, ">"), (16, ">")]
)
def test_grey_tiffs_of_every_depth_have_white_at_the_right_end(bits: int, order: str, packed: int) -> None:
    most = (1 << bits) - 1
    samples = np.rint(np.tile(np.linspace(0, 1, 40), (20, 1)) * most).astype(int)
    samples[:5, :5] = most
    wanted = np.rint(samples / most * 255)
    for interpretation, stored in ((1, samples), (0, most - samples)):
        found = decode(tiff(stored, bits, interpretation, order, packed=packed), LIMIT)
        assert np.abs(found.pixels[..., 0] - wanted).max() <= 1
        assert found.notes == ((f"{bits}-bit samples reduced to 8 bits",) if bits > 8 else ())


@pytest.mark.parametrize(
    ("bits", "kind", "says"),
    [(8, 2, "signed 8-bit"), (16, 2, "signed 16-bit"), (32, 2, "signed 32-bit"), (32, 1, "unsigned 32-bit"),
     (32, 3, "32-bit floating-point"), (16, 3, "16-bit floating-point"), (16, 6, "complex"), (10, 1, "10 bits")],
)  # fmt: skip
def test_samples_without_an_8_bit_meaning_are_refused_by_their_name(bits: int, kind: int, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(tiff(np.full((20, 20), 100), bits, 1, format=kind), LIMIT)
    assert says in caught.value.found
    assert "unsigned" in caught.value.expected


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "BMP"])
def test_alpha_that_is_0_everywhere_is_no_alpha(name: str) -> None:
    if name == "BMP":  # 32 bits with masks (BITMAPV4HEADER), as programs that know no alpha write them
        pixels = np.dstack([scene()[::-1], np.zeros((60, 96, 1), np.uint8)])
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        info = struct.pack("<IiiHHIIiiII", 108, 96, 60, 1, 32, 3, pixels.size, 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
        body = b"BM" + struct.pack("<IHHI", 14 + 108 + pixels.size, 0, 0, 14 + 108) + info + pixels.tobytes()
    else:
        image = Image.fromarray(np.ascontiguousarray(scene()[..., ::-1])).convert("RGBA")
        image.putalpha(0)
        body = saved(image, name, **({"lossless": True, "exact": True} if name == "WEBP" else {}))
    found = decode(body, LIMIT)
    assert off(found.pixels, scene()) == 0
    assert found.notes == ("alpha is 0 everywhere and was left out",)
