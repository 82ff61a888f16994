"""Cases of any model: drawn by itself, or, where it has no starter data, imported from pictures made here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from registry.cases import mask_labels
from registry.cases.records import LabelledInput
from registry.contract.spec import ModelSpec
from registry.core.media import ByteArray, Case
from registry.scenes.backdrop import backdrop
from registry.vision.picture import to_jpeg

SIDE = 96


def write_source(spec: ModelSpec, out: Path, count: int, seed: int) -> Path:
    """A folder that somebody may import: class folders, YOLO's layout, or images and masks. `count` of each class."""
    detects, segments = spec.task == "detection", spec.task == "segmentation"
    if detects:
        names = "".join(f"  {n}: {name}\n" for n, name in enumerate(spec.classes))
        out.mkdir(parents=True)
        (out / "data.yaml").write_text(f"train: images\nnames:\n{names}")
    for number, name in enumerate(spec.classes):
        for n in range(count):
            rng = np.random.default_rng([seed, number, n])
            pixels, (x, y, wide, high) = _picture(rng, number, len(spec.classes))
            folder = out / "images" if detects or segments else out / name
            folder.mkdir(parents=True, exist_ok=True)
            stem = f"{number}-{seed}-{n:03d}"
            (folder / f"{stem}.jpg").write_bytes(to_jpeg(pixels))
            if detects:
                (out / "labels").mkdir(exist_ok=True)
                box = ((x + wide / 2) / SIDE, (y + high / 2) / SIDE, wide / SIDE, high / SIDE)
                (out / "labels" / f"{stem}.txt").write_text(f"{number} {' '.join(f'{v:.5f}' for v in box)}\n")
            if segments:
                mask = np.zeros((SIDE, SIDE), np.uint8)
                cv2.rectangle(mask, (x, y), (x + wide, y + high), number + 1, -1)
                (out / "masks").mkdir(exist_ok=True)
                (out / "masks" / f"{stem}.png").write_bytes(mask_labels.encode(mask, len(spec.classes)))
    return out


def _picture(rng: np.random.Generator, number: int, classes: int) -> tuple[ByteArray, tuple[int, int, int, int]]:
    """A scene with a block of the class's colour; the block's box in pixels, x y width height."""
    pixels = backdrop(rng, SIDE, SIDE)
    wide, high = (int(v) for v in rng.integers(30, 60, 2))
    x, y = int(rng.integers(0, SIDE - wide)), int(rng.integers(0, SIDE - high))
    hue = np.uint8([[[180 * number // classes, 255, 230]]])  # type: ignore[arg-type]
    colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].astype(int)
    cv2.rectangle(pixels, (x, y), (x + wide, y + high), tuple(int(v) for v in colour), -1)
    return pixels, (x, y, wide, high)


def cases_of(spec: ModelSpec, root: Path, seed: int, train: int, val: int) -> list[Case]:
    """A small data set at `root`, drawn or imported, and its cases."""
    if spec.data.has_starter:
        spec.data.synthesise(root, {"seed": seed, "train": train, "val": val, "test": 0})
    else:
        source = write_source(spec, root.with_name(f"{root.name}-source"), train + val, seed)
        root.mkdir(exist_ok=True)
        spec.data.import_from(source, root, {"look_alikes": "keep"})
    return spec.data.cases(root)


def stream_of(spec: ModelSpec, count: int, seed: int, folder: Path) -> list[LabelledInput]:
    """`count` labelled inputs; the same ones for a seed."""
    if spec.data.has_starter:
        return spec.data.synthesise_stream(count, seed)
    cases = cases_of(spec, folder / f"stream-{seed}", seed, count, count)
    return [
        LabelledInput(c.id, c.input.read_bytes(), c.truth if isinstance(c.truth, str) else c.truth.read_bytes())
        for c in cases[:count]
    ]
