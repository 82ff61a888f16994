"""Reading NIfTI: everything the format allows that we take, and one clear refusal for everything else."""

from __future__ import annotations

import gzip
import io
import math
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.models.skin_segmentation import nifti
from registry.models.skin_segmentation.inference import SkinResult

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
    "a vector in each voxel": (file(ramp(2, 2, 2, 1, 3)), BadInput, "5-D"),
    "time series": (file(ramp(3, 3, 3, 4)), BadInput, "4 frames"),
    "1-D": (file(ramp(9)), BadInput, "1-D"),
    "zero-sized": (patched(42, "<h", 0), BadInput, "no voxels"),
    "negative size": (patched(42, "<h", -5), BadInput, "no voxels"),
    "nine dimensions": (patched(40, "<h", 9), BadInput, "9 dimensions"),
    "NaN": (file(np.full((3, 3, 3), np.nan, "float32")), BadInput, "27 of 27 voxels are NaN"),
    "infinite": (file(np.where(np.eye(3) > 0, np.inf, 0).astype("float64")), BadInput, "3 of 9"),
    "beyond float32": (file(np.full((3, 3, 3), 1e300)), BadInput, "infinite"),
    "an intercept beyond float32": (
        patched(184, "<d", 1e300, body=file(ramp(4, 5, 6), kind=nib.Nifti2Image)),
        BadInput,
        "120 of 120",
    ),
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
    assert caught.value.fix
    assert "\n" not in caught.value.found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(600), "grey levels alone"),
        (bytes(128) + b"DICM" + bytes(600), "dcm2niix"),
        (patched(344, "4s", b"ni1\0"), ".hdr and its .img as one .nii"),
        (patched(344, "4s", b"\0\0\0\0"), ".hdr and its .img as one .nii"),
        (ramp(30, 30).tobytes(), "an .img file is one half of a pair"),
    ],
    ids=["png", "dicom", "hdr", "analyze hdr", "img"],
)
def test_what_to_do_fits_what_was_sent(body: bytes, says: str) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        nifti.read(body, LIMIT)
    assert says in caught.value.fix


TURNED = np.array([[0.0, 0.43, 0, -11], [0, 0, 0.39, -58], [2.67, 0, 0, -66], [0, 0, 0, 1]])
VOXEL = 2.67 * 0.43 * 0.39


def placed(
    sform: np.ndarray | None, qform: np.ndarray | None, shape: tuple[int, ...] = (4, 5, 6), **fields: object
) -> bytes:
    """A scan with these transforms (None: code 0) and header fields set after them."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header.set_qform(qform if qform is not None else TURNED, code=1 if qform is not None else 0)
    header.set_sform(sform if sform is not None else np.eye(4), code=2 if sform is not None else 0)
    for name, value in fields.items():
        at = int(name[-1]) if name[-1].isdigit() else None
        if at is None:
            header[name] = value
        else:
            header[name[:-1]][at] = value
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return bytes(header.binaryblock) + bytes(4) + ramp(*shape).tobytes(order="F")


MILLIMETRE = np.array([[0.0, 1, 0, -11], [0, 0, 1, -58], [1, 0, 0, -66], [0, 0, 0, 1]])
ONES = {"pixdim1": 1, "pixdim2": 1, "pixdim3": 1}
PLACES: dict[str, tuple[bytes, str]] = {
    "all agree": (placed(TURNED, TURNED), ""),
    "sform only, pixdim agrees": (placed(TURNED, None), ""),
    "qform only": (placed(None, TURNED), ""),
    "pixdim forgotten": (placed(TURNED, None, **ONES), "the sform was taken"),
    "sform forgotten, qform and pixdim agree": (placed(MILLIMETRE, TURNED), "the qform, which agrees with pixdim"),
    "sform all zeros": (placed(np.zeros((4, 4)), TURNED), "the sform is unusable: the qform"),
    "sform NaN": (placed(TURNED * np.nan, TURNED), "the sform is unusable: the qform"),
    "sform with two axes alike": (placed(TURNED[:, [0, 0, 2, 3]], TURNED), "the sform is unusable: the qform"),
    "qfac 0": (placed(None, TURNED, pixdim0=0), "qfac is 0 and was taken as 1"),
    "qfac 7": (placed(None, TURNED, pixdim0=7), "qfac is 7"),
    "qfac 0 that does not matter": (placed(TURNED, None, pixdim0=0), ""),
    "a negative zoom": (placed(None, TURNED, pixdim1=-2.67), "a negative pixdim"),
    "negative zooms beside an sform": (placed(TURNED, TURNED, pixdim1=-2.67, pixdim3=-0.39), "a negative pixdim"),
    "no zooms beside an sform": (placed(TURNED, None, pixdim1=0, pixdim2=0, pixdim3=np.nan), ""),
    "trailing dimensions": (placed(TURNED, TURNED, (4, 5, 6, 1, 1)), ""),
    "seven dimensions": (placed(TURNED, TURNED, (4, 5, 6, 1, 1, 1, 1)), ""),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_a_scan_lies_is_what_two_of_sform_qform_and_pixdim_say(name: str) -> None:
    body, note = PLACES[name]
    volume = nifti.read(body, LIMIT)
    assert volume.voxels.shape == (4, 5, 6)
    np.testing.assert_array_equal(volume.voxels, ramp(4, 5, 6))
    np.testing.assert_allclose(volume.affine, TURNED, atol=1e-4)
    np.testing.assert_allclose(volume.spacing, (2.67, 0.43, 0.39), rtol=1e-4)
    assert volume.voxel_mm3 == pytest.approx(VOXEL, rel=1e-4)
    assert len(volume.notes) == bool(note)
    assert note in "".join(volume.notes)


def test_a_sheared_scan_has_the_volume_of_its_determinant() -> None:
    tilted = TURNED.copy()
    tilted[1, 0] = 2.67 * np.tan(np.radians(20))
    volume = nifti.read(placed(tilted, None, pixdim1=float(np.linalg.norm(tilted[:, 0]))), LIMIT)
    assert volume.voxel_mm3 == pytest.approx(VOXEL, rel=1e-4)
    assert math.prod(volume.spacing) == pytest.approx(VOXEL / np.cos(np.radians(20)), rel=1e-4)
    answer = SkinResult.of(np.ones((4, 5, 6), np.uint8), volume).to_json()
    assert answer["volume_mm3"] == pytest.approx(120 * VOXEL, rel=1e-4)
    assert answer["volume_mm3"] == pytest.approx(answer["voxels"] * answer["voxel_mm3"])
    assert answer["slice_area_mm2"] == pytest.approx([30 * 0.43 * 0.39] * 4, rel=1e-3)


@pytest.mark.parametrize("how", ["qform without a thickness", "sform without its third axis", "no place, no thickness"])
def test_a_flat_scan_without_a_thickness_is_taken_as_1_mm_thick(how: str) -> None:
    flat = np.diag([0.33, 0.37, 2.0, 1])
    body = {
        "qform without a thickness": placed(None, flat, (4, 5), pixdim3=0),
        "sform without its third axis": placed(
            flat * [1, 1, 0, 1], None, (4, 5), pixdim1=0.33, pixdim2=0.37, pixdim3=0
        ),
        "no place, no thickness": placed(None, None, (4, 5), pixdim1=0.33, pixdim2=0.37, pixdim3=0),
    }[how]
    volume = nifti.read(body, LIMIT)
    assert volume.spacing == pytest.approx((0.33, 0.37, 1), rel=1e-4)
    answer = SkinResult.of(np.ones((4, 5, 1), np.uint8), volume).to_json()
    assert answer["shape"] == [4, 5]
    assert answer["volume_mm3"] == pytest.approx(answer["voxels"] * math.prod(answer["spacing_mm"]))
    assert any("1 mm" in note for note in volume.notes)


def test_notes_on_where_a_scan_lies_are_in_the_answer_and_its_mask_keeps_the_header() -> None:
    body = PLACES["pixdim forgotten"][0]
    volume = nifti.read(body, LIMIT)
    mask = np.ones(volume.voxels.shape, np.uint8)
    assert SkinResult.of(mask, volume).to_json()["notes"] == list(volume.notes)
    back = nib.Nifti1Image.from_bytes(gzip.decompress(nifti.write_mask(mask, volume)))
    np.testing.assert_allclose(back.header["pixdim"][1:4], (1, 1, 1))


@pytest.mark.parametrize("pack", [False, True])
def test_reading_takes_the_memory_of_its_voxels_once(pack: bool) -> None:
    body = file(np.zeros((160, 160, 160)))  # float64: 33 MB stored, 16 MB as float32
    body = gzip.compress(body, 1) if pack else body
    tracemalloc.start()
    try:
        nifti.read(body, 10**7)
        assert tracemalloc.get_traced_memory()[1] < 16.4e6 + 30e6
    finally:
        tracemalloc.stop()


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
