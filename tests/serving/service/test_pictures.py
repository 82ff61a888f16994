"""A service of pictures over real HTTP: bad pictures, good ones, and what an answer may hold beside its findings.

The API runs in this process, in front of a real bundle; Bentos are tested with the scans' model.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from registry.contract import catalog
from registry.vision.picture import to_jpeg
from tests.clips import scene
from tests.detector_bundle import RED, make_detector_bundle
from tests.registry.vision.pictures import BOMBS, GOOD, saved
from tests.serving.local_api import answering

MODEL = "object_detection"
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def client(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(tmp_path_factory.mktemp("pictures") / "bundle", spec)
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
        yield one


def picture(encoded: str) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded, validate=True), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param(b"", 422, "empty", id="empty"),
        pytest.param(b"a letter, not a picture", 422, "not a picture", id="text"),
        pytest.param(b"%PDF-1.7 " + bytes(99), 415, "PDF", id="PDF"),
        pytest.param(GOOD["JPEG"](scene(1, 160, 120))[:-400], 422, "truncated", id="truncated"),
        pytest.param(saved(Image.new("RGB", (1, 1)), "PNG"), 422, "1 x 1", id="1x1"),
        *(pytest.param(body, 413, "30000 x 30000", id=f"{name} bomb") for name, body in BOMBS.items()),
    ],
)
@pytest.mark.parametrize("query", ["", "?explain=true&image=true"])
def test_bad_pictures_get_one_clear_message(
    client: httpx.Client, body: bytes, status: int, says: str, query: str
) -> None:
    answer = client.post(f"/predict{query}", content=body, headers=JPEG)
    assert (answer.status_code, says in answer.json()["found"]) == (status, True), answer.text
    assert answer.json()["fix"]


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_picture_is_answered(client: httpx.Client, kind: str) -> None:
    answer = client.post("/predict", content=GOOD[kind](scene(1, 160, 120)))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["width"], answer.json()["height"]) == (160, 120)


def test_boxes_are_those_of_the_upright_picture(client: httpx.Client) -> None:
    upright = scene(1, 160, 120)
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(upright)[..., ::-1]))  # a left turn; 6 says: turn right
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    lying.save(stream, "JPEG", quality=95, exif=exif)
    turned = client.post("/predict", content=stream.getvalue(), headers=JPEG).json()
    plain = client.post("/predict", content=to_jpeg(upright, 95), headers=JPEG).json()
    assert (turned["width"], turned["height"]) == (160, 120)
    assert [one["class"] for one in turned["detections"]] == [one["class"] for one in plain["detections"]] != []
    for a, b in zip(turned["detections"], plain["detections"], strict=True):
        assert a["box"] == pytest.approx(b["box"], abs=4)


def test_the_annotated_picture_is_in_the_json_on_request(client: httpx.Client) -> None:
    body = to_jpeg(scene(1, 160, 120), 95)
    found = client.post("/predict?image=true", content=body, headers=JPEG).json()
    alone = client.post("/predict", content=body, headers={**JPEG, "Accept": "image/jpeg"})
    assert base64.b64decode(found["image"]) == alone.content
    assert "image" not in client.post("/predict?image=false", content=body, headers=JPEG).json()


def test_the_heat_lies_on_what_was_found(client: httpx.Client) -> None:
    pixels = np.full((120, 160, 3), 90, np.uint8)
    pixels[70:84, 100:116] = (30, 30, 220)  # small enough for one window to hide
    found = client.post("/predict?explain=true", content=to_jpeg(pixels, 95), headers=JPEG).json()
    heat = picture(found["explanation"]["image"])[:-36].astype(int)  # without the scale
    colourful = cv2.resize(np.ptp(heat, axis=2).astype(np.float32), (160, 120), interpolation=cv2.INTER_AREA)
    inside = np.zeros((120, 160), bool)
    (one,) = found["detections"]
    x1, y1, x2, y2 = (round(v) for v in one["box"])
    inside[y1:y2, x1:x2] = True
    assert one["class"] == RED
    assert colourful[inside].mean() > 3 * colourful[~inside].mean()
    assert found["explanation"]["evidence_lost"] > 0.5
    assert found["explanation"]["network_calls"] == 65
