"""What the first bytes of a picture say of its size, without a pixel being allocated."""

from __future__ import annotations

import tracemalloc

import pytest
from PIL import Image

from registry.vision.beginnings import upright_size
from tests.registry.vision.pictures import claiming, packed, saved, scene

WIDE = 60_000
FORMATS = ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP")


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_that_a_header_claims_is_known_and_takes_no_memory(name: str) -> None:
    start = claiming(name, WIDE)
    tracemalloc.start()
    try:
        assert upright_size(start) == (WIDE, WIDE)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_that_of_the_picture_as_a_person_sees_it(name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upright_size(packed(scene(16, 24), name)) == (24, 16)
    if name in ("JPEG", "PNG"):
        large = Image.effect_noise((900, 600), 90).convert("RGB")
        lying = saved(large, name, exif=exif)
        assert upright_size(lying[: 1 << 16]) == (600, 900)


@pytest.mark.parametrize(
    "start", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0", b"RIFF\0\0\0\0WEBPnone", b"BMx", b"%PDF-1.4"]
)
def test_what_says_nothing_has_no_size(start: bytes) -> None:
    assert upright_size(start) is None
