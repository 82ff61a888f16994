"""Results of each kind, as the services answer them: fields of a run, and its files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from registry.boxes.detection import Detections, drawn
from registry.cases import mask_labels
from registry.contract import catalog
from registry.core.media import ByteArray
from registry.models.face_gender.inference import Faces
from registry.vision.picture import to_jpeg
from registry.vision_tasks.classification import Ranking
from registry.vision_tasks.segmentation import Segments
from tests.bundles import make_scan
from tests.clips import make_clip, scene

Planted = tuple[dict[str, Any], dict[str, bytes]]
KINDS = ("boxes", "classes", "features", "faces", "mask", "video", "scan")
WIDE, TALL = 640, 400
BALL, BOOK, PERSON = (40.0, 200.0, 140.0, 300.0), (0.0, 0.0, 160.0, 100.0), (300.0, 60.0, 420.0, 380.0)


def picture() -> ByteArray:
    """uint8 [TALL, WIDE, 3] BGR: soft colours, with a red and a white square where `BALL` and `BOOK` are."""
    down, across = np.mgrid[0:TALL, 0:WIDE]
    pixels = np.stack([120 + 60 * np.sin(across / 70), 110 + 40 * np.cos(down / 50), 90 + 30 * np.sin(down / 90)], -1)
    pixels = pixels.astype(np.uint8)
    for (x1, y1, x2, y2), colour in ((BALL, (30, 30, 220)), (BOOK, (240, 240, 240)), (PERSON, (90, 160, 60))):
        pixels[int(y1) : int(y2), int(x1) : int(x2)] = colour
    return pixels


def _answer(findings: dict[str, Any], elapsed_ms: float = 34.2) -> bytes:
    more = {"id": "0" * 32, "model": "any", "version": 1, "role": "live", "elapsed_ms": elapsed_ms}
    return json.dumps({**findings, **more}).encode()


def _fields(model: str, kind: str, media: str, name: str, **more: Any) -> dict[str, Any]:
    usual = {"kind": kind, "media": media, "name": name, "version": 1, "wanted": 1, "elapsed_ms": 34.2}
    return {"model": model, **usual, **more}


def detections() -> Detections:
    names = catalog.get("object_detection").classes
    rows = [
        (BALL, 0.91, "sports ball"),
        (PERSON, 0.62, "person"),
        (BOOK, 0.4, "book"),
        ((500, 300, 620, 390), 0.12, "dog"),
    ]
    boxes = np.array([box for box, _, _ in rows], np.float32)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Detections(boxes, scores, np.array([names.index(name) for *_, name in rows]), names, WIDE, TALL, 0.1)


def boxes(**more: Any) -> Planted:
    """Four boxes, from 0.1 on, of a version that this machine does not have."""
    found = detections()
    jpeg = to_jpeg(picture(), 95)
    files = {"input": jpeg, "answer.json": _answer(found.to_json()), "annotated.jpg": to_jpeg(drawn(picture(), found))}
    return _fields(
        "object_detection", "picture", "image/jpeg", "street.jpg", version=99, options={"score": 0.1}, **more
    ), files


def classes(**more: Any) -> Planted:
    names = catalog.get("suspect_classification").classes
    shares = np.array([0.62, 0.2, 0.08, 0.04, 0.02, 0.02, 0.01, 0.007, 0.003], np.float32)
    found = Ranking(names, shares, {"model_size_mb": 1.9})
    jpeg = to_jpeg(picture(), 95)
    files = {"input": jpeg, "answer.json": _answer(found.to_json()), "annotated.jpg": jpeg, "heatmap.jpg": jpeg}
    return _fields("suspect_classification", "picture", "image/jpeg", "thing.jpg", **more), files


def features(**more: Any) -> Planted:
    """Classes, and what is nearest by its features."""
    names = catalog.get("fruit_features").classes
    shares = np.full(len(names), 0.02, np.float32)
    shares[0] = 1 - shares[1:].sum()
    more_json = {"nearest": [{"class": names[1], "distance": 0.125}], "pca": [0.1, 0.2]}
    jpeg = to_jpeg(picture(), 95)
    files = {"input": jpeg, "answer.json": _answer(Ranking(names, shares, more_json).to_json()), "annotated.jpg": jpeg}
    return _fields("fruit_features", "picture", "image/jpeg", "fruit.jpg", **more), files


def faces(**more: Any) -> Planted:
    rows = np.array([(60, 60, 180, 220), (320, 80, 420, 210)], np.float32)
    shares = np.array([[0.93, 0.07], [0.41, 0.59]], np.float32)
    found = Faces(rows, np.array([0.98, 0.71], np.float32), shares, ("female", "male"), WIDE, TALL)
    jpeg = to_jpeg(picture(), 95)
    files = {"input": jpeg, "answer.json": _answer(found.to_json()), "annotated.jpg": jpeg}
    return _fields("face_gender", "picture", "image/jpeg", "faces.jpg", **more), files


def mask_values() -> ByteArray:
    """uint8 [TALL, WIDE]: 1 where `BALL` is, 2 where `PERSON` is."""
    values = np.zeros((TALL, WIDE), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate((BALL, PERSON), start=1):
        values[int(y1) : int(y2), int(x1) : int(x2)] = number
    return values


def mask(**more: Any) -> Planted:
    """A picture's mask with two classes, as a segmentation of pictures answers it. No model of ours is one: the page
    goes by the answer."""
    names = catalog.get("face_gender").classes
    found = Segments(mask_values(), names)
    jpeg = to_jpeg(picture(), 95)
    files = {"input": jpeg, "answer.json": _answer(found.to_json()), "annotated.jpg": jpeg}
    files["mask.png"] = mask_labels.encode(found.mask, len(names))
    return _fields("face_gender", "picture", "image/jpeg", "parts.jpg", **more), files


def video(**more: Any) -> Planted:
    """Four seconds: a ball all along, a person twice."""
    names = catalog.get("object_detection").classes
    tracks = [("sports ball", 0.0, 3.9), ("person", 0.5, 1.0), ("person", 0.8, 1.6), ("person", 3.0, 3.5)]
    listed = [
        {"id": n, "class": name, "class_id": names.index(name), "first_s": first, "last_s": last, "frames": 5}
        for n, (name, first, last) in enumerate(tracks, start=1)
    ]
    counts = {"objects": {"sports ball": 1, "person": 3}, "per_second": []}
    findings = {"frames": 40, "fps": 10.0, "seconds": 4.0, "width": 320, "height": 240, "tracks": listed}
    findings |= {"tracks_total": 4, "counts": counts, "detections": [], "detections_every": 1}
    scenes = [scene(number, 320, 240) for number in range(40)]
    webm = make_clip(40, (320, 240), 10, container="webm", codec="libvpx-vp9", scenes=scenes)
    files = {"input": webm, "annotated.webm": webm, "answer.json": _answer(findings, 2340)}
    return _fields("object_detection", "video", "video/webm", "walk.webm", **more), files


def scan(body: bytes | None = None, mask: bytes | None = None, **more: Any) -> Planted:
    """A scan with a mask; of `make_scan` where none is given."""
    from registry.models.skin_segmentation import nifti
    from registry.models.skin_segmentation.inference import SkinResult

    body = body or make_scan(3, (64, 48, 12))
    sample = nifti.read(body, 10**8)
    flags = nifti.read(mask, 10**8).voxels.astype(np.uint8) if mask else (sample.voxels > 500).astype(np.uint8)
    found = SkinResult.of(flags, sample)
    files = {
        "input": body,
        "mask.nii.gz": mask or nifti.write_mask(flags, sample),
        "answer.json": _answer(found.to_json()),
    }
    return _fields("skin_segmentation", "scan", "application/gzip", "scan.nii.gz", **more), files
