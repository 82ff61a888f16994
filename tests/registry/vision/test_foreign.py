"""What is sent to a model that takes something else: the error names what it is and what is expected."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from registry.contract import catalog
from registry.core.errors import BadInput, UnsupportedMedia
from registry.vision.foreign_files import PEEKED, recognise


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 200)).save(stream, kind)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as writer:
        writer.writestr("a.txt", "x")
    return stream.getvalue()


SCAN = nib.Nifti1Image(np.zeros((8, 9, 4), np.int16), np.eye(4)).to_bytes()
PICTURES = {
    "a PNG picture": picture("PNG"),
    "a JPEG picture": picture("JPEG"),
    "a WebP picture": picture("WEBP"),
    "a GIF picture": picture("GIF"),
    "a BMP picture": picture("BMP"),
    "a TIFF picture": picture("TIFF"),
}
SCANS = {
    "a NIfTI scan": SCAN,
    "a NIfTI scan ": gzip.compress(SCAN),
    "a NIfTI scan  ": nib.Nifti2Image(np.zeros((8, 9, 4), np.int16), np.eye(4)).to_bytes(),
}
OTHERS = {
    "an AVIF picture": picture("AVIF"),
    "a JPEG 2000 picture": picture("JPEG2000"),
    "an icon (ICO)": picture("ICO"),
    "a PDF document": picture("PDF"),
    "a HEIC picture": b"\0\0\0\x18ftypheic" + bytes(600),
    "an SVG drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a DICOM file": bytes(128) + b"DICM" + bytes(600),
    "an NRRD volume": b"NRRD0004\n" + bytes(600),
    "a sound (WAV)": b"RIFF\0\0\0\0WAVE" + bytes(600),
    "a sound (MP3)": b"ID3\x03" + bytes(600),
    "a ZIP archive": archive(),
    "a tar archive": b"a.png" + bytes(252) + b"ustar\0" + bytes(600),
    "a NumPy array": b"\x93NUMPY" + bytes(600),
    "an HTML page": b"<!DOCTYPE html><title>502</title>",
    "JSON text": b'{"image": "x"}',
    "base64 text of a PNG picture": base64.b64encode(picture("PNG")),
    "base64 text of a JPEG picture": b"data:image/jpeg;base64," + base64.b64encode(picture("JPEG")),
}
VIDEOS = {
    "a video (MP4)": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(600),
    "a video (WebM)": b"\x1aE\xdf\xa3" + bytes(20) + b"webm" + bytes(600),
}
PACKED = {"a gzip file with a PNG picture in it": gzip.compress(picture("PNG")), "a gzip file": gzip.compress(b"x")}
EVERY = PICTURES | SCANS | OTHERS | VIDEOS | PACKED


def _taken(model: str) -> dict[str, bytes]:
    taken = catalog.get(model).media_in
    return (
        (PICTURES if "image/png" in taken else {})
        | (VIDEOS if "video/mp4" in taken else {})
        | (SCANS if "application/x-nifti" in taken else {})
    )


@pytest.mark.parametrize("model", catalog.names())
def test_a_file_of_another_kind_is_named_and_so_is_what_is_expected(model: str) -> None:
    taken = _taken(model)
    expected = "a NIfTI scan" if "a NIfTI scan" in taken else "a JPEG, PNG"
    unpacks = "application/gzip" in catalog.get(model).media_in
    for name, body in EVERY.items():
        if name in taken or (unpacks and name in PACKED):
            continue
        with pytest.raises(UnsupportedMedia) as caught:
            catalog.get(model).inference.decode(body, 10**7)
        assert caught.value.found == f"the file is {name.strip()}"
        assert expected in caught.value.expected
        assert caught.value.fix
        if name != "a DICOM file":
            assert "DICOM" not in str(caught.value), name
            assert "dcm2niix" not in str(caught.value), name


@pytest.mark.parametrize("model", catalog.names())
def test_text_is_refused_without_advice_about_scans_or_pictures_of_other_kinds(model: str) -> None:
    with pytest.raises(BadInput) as caught:
        catalog.get(model).inference.decode(b"name,label\na.png,apple\n" * 30, 10**7)
    assert "DICOM" not in str(caught.value)
    assert ".img" not in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_the_first_bytes_are_enough(name: str) -> None:
    found = recognise(EVERY[name][:PEEKED])
    assert found is not None
    assert found.name == name.strip()


def test_what_begins_like_nothing_known_has_no_name() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, PEEKED), dtype=np.uint8)
    named = [body for body in map(bytes, noise) if recognise(body) is not None]
    assert not named


def test_a_gzip_file_that_holds_itself_is_a_gzip_file() -> None:
    body = gzip.compress(gzip.compress(gzip.compress(b"x")))
    found = recognise(body)
    assert found is not None
    assert found.name == "a gzip file"
