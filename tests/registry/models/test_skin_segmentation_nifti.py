"""Reading NIfTI: everything the format allows that we take, and one clear refusal for everything else."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from registry.errors import BadInput, TooLarge, UnsupportedMedia
from registry.models.skin_segmentation import nifti

LIMIT = 1_000_000
AFFINE = np.array([[0.0, -2, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]])


def file(voxels: np.ndarray, affine: np.ndarray = AFFINE, kind: type = nib.Nifti1Image) -> bytes:
    return kind(voxels, affine, dtype=voxels.dtype).to_bytes()


def ramp(*shape: int, dtype: str = "int16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def patched(at: int, form: str, *values: float, body: bytes | None = None) -> bytes:
    raw = bytearray(body if body is not None else file(ramp(4, 5, 6)))
    struct.pack_into(form, raw, at, *values)
    return bytes(raw)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("shape", [(5, 4), (4, 5, 6), (4, 5, 1), (4, 5, 6, 1)])
@pytest.mark.parametrize("pack", [False, True])
def test_reads_what_nibabel_wrote(kind: type, dtype: str, shape: tuple[int, ...], pack: bool) -> None:
    voxels = ramp(*shape, dtype=dtype)
    body = file(voxels, kind=kind)
    volume = nifti.read(gzip.compress(body) if pack else body, LIMIT)
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, voxels.reshape((*shape[:3], *(1,) * (3 - len(shape)))))
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.ndim == min(len(shape), 3)
    assert volume.spacing[:2] == (1.5, 2.0)


def test_big_endian_slope_and_units() -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(ramp(4, 5, 6), np.diag([0.002, 0.001, 0.001, 1]), header)
    image.header.set_xyzt_units("meter")
    image.header.set_slope_inter(0.5, -3)
    volume = nifti.read(image.to_bytes(), LIMIT)
    np.testing.assert_allclose(volume.voxels, np.asanyarray(nib.Nifti1Image.from_bytes(image.to_bytes()).dataobj))
    np.testing.assert_allclose(volume.spacing, (2, 1, 1), rtol=1e-5)


def test_several_gzip_members_as_pigz_and_bgzip_write_them() -> None:
    body = file(ramp(4, 5, 6))
    packed = gzip.compress(body[:400]) + gzip.compress(body[400:])
    np.testing.assert_array_equal(nifti.read(packed, LIMIT).voxels, ramp(4, 5, 6))


WHOLE = file(np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype("int16"))
PACKED = gzip.compress(WHOLE)
RGB = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])

REFUSED = {
    "empty": (b"", BadInput, "empty"),
    "text": (b"hello, this is not an image" * 30, UnsupportedMedia, "not a NIfTI"),
    "short text": (b"hi", UnsupportedMedia, "not a NIfTI"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(600), UnsupportedMedia, "PNG"),
    "dicom": (bytes(128) + b"DICM" + bytes(600), UnsupportedMedia, "DICOM"),
    "gzip of text": (gzip.compress(b"hello" * 200), UnsupportedMedia, "not a NIfTI"),
    "pair": (patched(344, "4s", b"ni1\0"), UnsupportedMedia, "pair"),
    "analyze": (patched(344, "4s", b"\0\0\0\0"), UnsupportedMedia, "Analyze"),
    "half a header": (WHOLE[:200], BadInput, "within its header"),
    "truncated": (WHOLE[:-100], BadInput, "ends after"),
    "truncated gzip": (PACKED[: len(PACKED) // 2], BadInput, "too early"),
    "gzip without its last bytes": (PACKED[:-4], BadInput, "too early"),
    "damaged gzip": (PACKED[:2000] + bytes(50) + PACKED[2050:], BadInput, "damaged"),
    "gzip mark only": (b"\x1f\x8b", BadInput, "too early"),
    "5-D": (file(ramp(2, 2, 2, 2, 2)), BadInput, "5-D"),
    "time series": (file(ramp(3, 3, 3, 4)), BadInput, "4 frames"),
    "1-D": (file(ramp(9)), BadInput, "1-D"),
    "zero-sized": (patched(42, "<h", 0), BadInput, "no voxels"),
    "negative size": (patched(42, "<h", -5), BadInput, "no voxels"),
    "nine dimensions": (patched(40, "<h", 9), BadInput, "9 dimensions"),
    "NaN": (file(np.full((3, 3, 3), np.nan, "float32")), BadInput, "27 of 27 voxels are NaN"),
    "infinite": (file(np.where(np.eye(3) > 0, np.inf, 0).astype("float64")), BadInput, "3 of 9"),
    "beyond float32": (file(np.full((3, 3, 3), 1e300)), BadInput, "infinite"),
    "RGB": (file(RGB), BadInput, "RGB"),
    "complex": (file(np.ones((3, 3, 3), "complex64")), BadInput, "complex64"),
    "unknown data type": (patched(70, "<h", 77), BadInput, "77"),
    "flat affine": (patched(312, "<4f", 0, 0, 0, 0), BadInput, "cannot be inverted"),
    "NaN affine": (patched(280, "<f", float("nan")), BadInput, "NaN"),
    "offset nowhere": (patched(108, "<f", 1e30), BadInput, "begin at byte"),
    "offset NaN": (patched(108, "<f", float("nan")), BadInput, "begin at byte"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_one_clear_message(name: str) -> None:
    body, error, says = REFUSED[name]
    with pytest.raises(error) as caught:
        nifti.read(body, LIMIT)
    if error is BadInput:
        assert type(caught.value) is BadInput
    assert says in caught.value.found
    assert caught.value.expected
    assert caught.value.mend
    assert "\n" not in caught.value.found


def giant_header() -> bytes:
    header = nib.Nifti2Header()
    header.set_data_shape((100_000, 100_000, 100_000))
    header.set_data_dtype("int16")
    header["vox_offset"] = 544
    return bytes(header.binaryblock) + bytes(4)


@pytest.mark.parametrize("body", [giant_header(), gzip.compress(giant_header() + bytes(1000))], ids=["plain", "gzip"])
def test_a_gigantic_header_is_refused_before_memory_is_taken(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge) as caught:
            nifti.read(body, 64_000_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert "1,000,000,000,000,000 voxels" in caught.value.found


def test_a_gzip_bomb_is_refused_without_being_unpacked() -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as out:
        out.write(file(ramp(4, 5, 6)))
        for _ in range(100):
            out.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="more data than its header"):
            nifti.read(packed.getvalue(), LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("shape", [(5, 4), (4, 5, 6), (4, 5, 6, 1)])
def test_a_mask_keeps_affine_codes_and_dimensions(kind: type, shape: tuple[int, ...]) -> None:
    image = kind(ramp(*shape), AFFINE)
    image.header.set_slope_inter(2.0, 5.0)
    image.header.set_qform(AFFINE, code=1)
    image.header.set_sform(AFFINE, code=4)
    volume = nifti.read(image.to_bytes(), LIMIT)
    mask = (np.random.default_rng(1).random(volume.voxels.shape) > 0.5).astype(np.uint8)
    back = kind.from_bytes(gzip.decompress(nifti.write_mask(mask, volume)))
    assert back.get_data_dtype() == np.uint8
    assert back.shape == shape[:3]
    np.testing.assert_array_equal(np.asanyarray(back.dataobj).reshape(mask.shape), mask)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert (int(back.header["qform_code"]), int(back.header["sform_code"])) == (1, 4)
    np.testing.assert_allclose(back.header["pixdim"], image.header["pixdim"])


def test_new_files_are_whole_gzip_that_others_read() -> None:
    voxels = np.random.default_rng(2).integers(0, 3000, (90, 80, 12)).astype(np.int16)  # more than one stored block
    body = nifti.write_new(voxels, AFFINE, 3)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(body))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    np.testing.assert_allclose(image.affine, AFFINE)
    np.testing.assert_array_equal(nifti.read(body, LIMIT).voxels, voxels)


def test_damage_that_unpacks_to_more_bytes_is_noticed_by_the_checksum() -> None:
    packed = bytearray(gzip.compress(file(ramp(4, 5, 6)) + bytes(1000), mtime=0))
    assert nifti.read(bytes(packed), LIMIT).voxels.shape == (4, 5, 6)
    packed[-8] ^= 0xFF  # the checksum's first byte: what damaged data looks like to it
    with pytest.raises(BadInput, match="damaged"):
        nifti.read(bytes(packed), LIMIT)
