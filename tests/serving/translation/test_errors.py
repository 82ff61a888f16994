"""Errors that people of the pages meet are French on French pages, whichever room raised them."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from django.utils import translation
from starlette.requests import Request

from registry.contract import catalog
from registry.core.errors import BadInput, NotFound, StorageError, VisionloopError
from registry.vision import picture
from serving.translation import errors
from serving.translation.error_sentences import SENTENCES
from serving.wire.responses import InternalError, known_error

PICTURES = "suspect_classification"
JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()


@pytest.fixture
def french(project: Path) -> Iterator[None]:
    with translation.override("fr"):
        yield


def _kinds(model: str, start: bytes, size: int | None = None) -> None:
    from serving.runs import kinds

    kinds.check(catalog.get(model), start, len(start) if size is None else size)


def _raise(error: VisionloopError) -> None:
    raise error


def _unknown() -> None:
    from serving.runs import store

    raise store.unknown()


def _claiming(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def _scan(body: bytes) -> None:
    catalog.get("skin_segmentation").inference.decode(body, 10**6)


CASES: dict[str, Callable[[], object]] = {
    "too large": lambda: _kinds(PICTURES, JPEG, 10**10),
    "empty": lambda: _kinds(PICTURES, b""),
    "a PDF": lambda: _kinds(PICTURES, b"%PDF-1.7" + bytes(64)),
    "a zip": lambda: _kinds(PICTURES, b"PK\x03\x04" + bytes(64)),
    "a zip for a detector": lambda: _kinds("object_detection", b"PK\x03\x04" + bytes(64)),
    "a picture for scans": lambda: _kinds("skin_segmentation", JPEG),
    "something gzipped": lambda: _kinds(PICTURES, gzip.compress(b"%PDF-1.7" + bytes(64))),
    "nothing known": lambda: _kinds("object_detection", bytes(range(200, 250))),
    "too many pixels": lambda: _kinds(PICTURES, _claiming(10_000, 10_000)),
    "a picture that was cut off": lambda: picture.decode(JPEG[:-400], 10**8),
    "a picture of one pixel": lambda: picture.decode(_claiming(1, 1), 10**8),
    "a scan that was cut off": lambda: _scan(gzip.compress(bytes(400))[:-12]),
    "no result": _unknown,
    "a full disk": lambda: _raise(known_error(StorageError("no space left on /var"))),
    "an unforeseen failure": lambda: _raise(InternalError("web application", ValueError("x"))),
}


@pytest.mark.parametrize("raises", CASES.values(), ids=CASES.keys())
def test_an_error_is_french(french: None, raises: Callable[[], object]) -> None:
    with pytest.raises(VisionloopError) as caught:
        raises()
    told = caught.value.to_json()
    shown = errors.to_json(told)
    for part in errors.PARTS:
        assert errors.is_known(told[part]), told[part]
        assert not told[part] or shown[part] != told[part]


def test_numbers_are_french(french: None) -> None:
    assert errors.translated("the file has 1,536 MB") == "le fichier fait 1\u00a0536\u00a0Mo"


def test_what_is_not_known_stays_english_and_says_so(french: None) -> None:
    error = NotFound("there is no frobnicator", fix="try again later")
    assert errors.in_words(error) == "There is no frobnicator. Réessayez plus tard."
    assert not errors.is_known(error.found)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_in_english_nothing_changes(project: Path, sentence: str) -> None:
    with translation.override("en"):
        assert errors.translated(sentence) == sentence


@pytest.mark.parametrize(
    ("language", "found"),
    [(b"fr", "le fichier est vide"), (b"en", "the file is empty"), (b"", "the file is empty")],
)
def test_a_script_hears_of_errors_in_its_page_s_language(project: Path, language: bytes, found: str) -> None:
    from serving.runs import page_errors

    request = Request({"type": "http", "headers": [(b"accept-language", language)]})
    response = page_errors.response(BadInput("the file is empty"), request)
    assert (response.status_code, json.loads(response.body)["found"]) == (422, found)
