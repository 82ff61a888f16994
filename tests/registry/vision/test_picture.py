"""Every kind of bad picture gets one clear message or a right answer."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.core.media import ByteArray
from registry.vision.picture import Letterbox, decode, to_input, to_jpeg

LIMIT = 4_000_000


def scene(height: int = 60, width: int = 96) -> ByteArray:
    """Smooth, and without any symmetry: left and right, top and bottom, and the channels all differ. BGR."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([255 * x / width, 200 * y / height, 120 * (x / width) * (y / height) + 60], axis=2)
    image[: height // 4, : width // 4] = (20, 30, 220)
    return np.rint(image).astype(np.uint8)


def packed(pixels: ByteArray, name: str, mode: str = "RGB", **options: object) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).convert(mode)
    return saved(image, name, **options)


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def off(a: ByteArray, b: ByteArray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that promises a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


GOOD: dict[str, Callable[[ByteArray], bytes]] = {
    "JPEG": lambda a: packed(a, "JPEG", quality=95),
    "progressive JPEG": lambda a: packed(a, "JPEG", quality=95, progressive=True),
    "CMYK JPEG (Adobe's inverted samples)": lambda a: packed(a, "JPEG", "CMYK", quality=95),
    "PNG": lambda a: packed(a, "PNG"),
    "opaque RGBA PNG": lambda a: packed(a, "PNG", "RGBA"),
    "WebP": lambda a: packed(a, "WEBP", quality=95),
    "lossless WebP": lambda a: packed(a, "WEBP", lossless=True),
    "BMP": lambda a: packed(a, "BMP"),
    "TIFF": lambda a: packed(a, "TIFF"),
    "LZW TIFF": lambda a: packed(a, "TIFF", compression="tiff_lzw"),
    "CMYK TIFF": lambda a: packed(a, "TIFF", "CMYK"),
    "16-bit PNG": lambda a: cv2.imencode(".png", a.astype(np.uint16) * 257)[1].tobytes(),
    "16-bit TIFF": lambda a: cv2.imencode(".tiff", a.astype(np.uint16) * 257)[1].tobytes(),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_comes_out_as_it_went_in(kind: str) -> None:
    found = decode(GOOD[kind](scene()), LIMIT)
    assert found.pixels.shape == (60, 96, 3)
    assert found.pixels.flags.c_contiguous
    assert off(found.pixels, scene()) < 4
    assert found.format in kind


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


def test_rubbish_after_a_jpeg_is_harmless() -> None:
    assert off(decode(GOOD["JPEG"](scene()) + b"\0" * 999 + b"trailer", LIMIT).pixels, scene()) < 4


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


BOMBS = {
    "PNG": png(30_000, 30_000),
    "JPEG": b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 30_000, 30_000) + b"\3\1\x11\0\2\x11\0\3\x11\0"
    b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\x3f\0" + b"\0" * 20 + b"\xff\xd9",
    "WebP": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
    + (29_999).to_bytes(3, "little") * 2 + bytes(8),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0)
    + b"," + struct.pack("<HHHHB", 0, 0, 30_000, 30_000, 0) + b"\x02\x02\x4c\x01\0;",
    "BMP": b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100),
}  # fmt: skip


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
