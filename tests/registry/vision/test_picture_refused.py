"""Every kind of bad picture gets one clear message, before anything large is allocated."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.vision.picture import decode
from tests.registry.vision.pictures import BOMBS, GOOD, LIMIT, off, packed, scene


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("keep", [0.35, 0.9])
def test_a_truncated_picture_is_refused(kind: str, keep: float) -> None:
    rng = np.random.default_rng(0)
    whole = GOOD[kind](rng.integers(0, 255, (160, 160, 3), dtype=np.uint8))
    with pytest.raises(BadInput) as caught:
        decode(whole[: int(len(whole) * keep)], LIMIT)
    assert "truncated" in caught.value.found or "cannot be decoded" in caught.value.found
    assert "again" in caught.value.fix


def test_a_truncated_gif_is_refused() -> None:
    rng = np.random.default_rng(0)
    whole = packed(rng.integers(0, 255, (160, 160, 3), dtype=np.uint8), "GIF")
    with pytest.raises(BadInput, match="truncated"):
        decode(whole[: len(whole) // 2], LIMIT)


def test_a_thumbnails_end_marker_does_not_make_a_truncated_jpeg_whole() -> None:
    exif = b"Exif\0\0" + Image.Exif().tobytes()[6:] + packed(scene(), "JPEG")
    whole = packed(scene(300, 300), "JPEG", exif=exif)
    assert b"\xff\xd9" in whole[: len(whole) // 2]
    with pytest.raises(BadInput, match="truncated"):
        decode(whole[:-200], LIMIT)


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    whole = packed(scene(), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    with pytest.raises(BadInput, match="scans"):
        decode(whole[:last] + whole[last:-2] * 1000 + whole[-2:], LIMIT)
    after = whole + b"\xff\xda" * 1000
    assert off(decode(after, LIMIT).pixels, scene()) < 8, "what follows the picture does not count"


def test_a_damaged_png_is_refused() -> None:
    body = bytearray(packed(scene(), "PNG"))
    body[len(body) // 2] ^= 0xFF
    with pytest.raises(BadInput, match="checksum"):
        decode(bytes(body), LIMIT)


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b"", BadInput, "empty"),
        (b"not a picture, but a letter", BadInput, "not a picture"),
        (bytes(5000), BadInput, "not a picture"),
        (b"%PDF-1.7 ...", UnsupportedMedia, "PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(100), UnsupportedMedia, "HEIC"),
        (b"\0\0\0\x18ftypisom" + bytes(100), UnsupportedMedia, "video"),
        (b"\x1aE\xdf\xa3" + bytes(100), UnsupportedMedia, "video"),
        (b"RIFF\0\0\0\0AVI LIST", UnsupportedMedia, "AVI"),
        (b"PK\x03\x04....", UnsupportedMedia, "ZIP"),
        (b'<?xml version="1.0"?><svg xmlns=""/>', UnsupportedMedia, "SVG"),
        (b"\xff\xd8\xff", BadInput, "JPEG"),
        (b"\xff\xd8\xff\xe0" + bytes(300), BadInput, "JPEG"),
        (b"\x89PNG\r\n\x1a\n", BadInput, "PNG"),
        (b"GIF89a", BadInput, "GIF"),
        (b"II*\0" + bytes(20), BadInput, "TIFF"),
        (b"MM\0*\xff\xff\xff\xff", BadInput, "TIFF"),
        (b"BM" + bytes(60), BadInput, "BMP"),
        (b"RIFF\x04\0\0\0WEBP", BadInput, "WebP"),
        (b"RIFF\x10\0\0\0WEBPVP8 \x04\0\0\0abcd", BadInput, "WebP"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(body: bytes, error: type[BadInput], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(body, LIMIT)
    assert type(caught.value) is error
    assert says in caught.value.found
    assert caught.value.expected
    assert caught.value.fix


@pytest.mark.parametrize("kind", GOOD)
def test_random_damage_never_ends_in_another_error(kind: str) -> None:
    rng = np.random.default_rng(5)
    whole = GOOD[kind](scene())
    for _ in range(40):
        body = bytearray(whole)
        for at in rng.integers(0, len(body), rng.integers(1, 6)):
            body[at] = int(rng.integers(256))
        with contextlib.suppress(BadInput):
            assert decode(bytes(body), LIMIT).pixels.size <= 3 * LIMIT


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (7, 7)])
def test_a_picture_too_small_to_show_anything_is_refused(width: int, height: int) -> None:
    with pytest.raises(BadInput, match=f"{width} x {height} pixels") as caught:
        decode(packed(scene(height, width), "PNG"), LIMIT)
    assert not isinstance(caught.value, TooLarge)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_refused_with_its_size(kind: str) -> None:
    with pytest.raises(TooLarge, match="30000 x 30000 pixels") as caught:
        decode(BOMBS[kind], 64_000_000)
    assert "64 megapixels" in caught.value.expected


@pytest.mark.parametrize("kind", BOMBS)
def test_pils_own_limit_does_not_answer_first(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(TooLarge, match="30000 x 30000"):
        decode(BOMBS[kind], LIMIT)
    if kind in ("JPEG", "PNG"):
        assert off(decode(packed(scene(), kind), LIMIT).pixels, scene()) < 4


def test_a_bomb_allocates_nothing() -> None:
    script = (
        "import resource, sys\n"
        "from registry.vision.picture import decode\n"
        "from registry.core.errors import TooLarge\n"
        "bodies = eval(sys.stdin.read())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for body in bodies:\n"
        "    try: decode(body, 64_000_000)\n"
        "    except TooLarge: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=repr(list(BOMBS.values())), capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20_000, "kilobytes; one bomb would be 2.7 million"


def test_a_progressive_jpeg_that_ends_between_two_scans_is_truncated() -> None:
    whole = packed(scene(), "JPEG", progressive=True)
    scans = [n for n in range(len(whole)) if whole[n : n + 2] == b"\xff\xda"]
    for begin in scans[1:]:
        table = whole.rfind(b"\xff\xc4", 0, begin)
        with pytest.raises(BadInput, match="truncated"):
            decode(whole[: table if table > scans[0] else begin], LIMIT)


def test_a_jpeg_without_its_end_marker_is_measured_before_it_is_decoded() -> None:
    with pytest.raises(TooLarge, match="30000 x 30000"):
        decode(BOMBS["JPEG"][:-2], LIMIT)
