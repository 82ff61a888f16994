"""A picture is decoded once; the cache of what that gave may be missing, damaged or full."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from registry.cases import picture_facts
from registry.cases.picture_facts import PictureFactsCache
from registry.vision import picture


def png(n: int, shape: tuple[int, ...] = (24, 32, 3)) -> bytes:
    return cv2.imencode(".png", np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8))[1].tobytes()


def same(a: picture_facts.PictureFacts, b: picture_facts.PictureFacts) -> bool:
    numbers = ("problem", "width", "height", "channels", "contrast", "content")
    assert a.fingerprint is not None
    assert b.fingerprint is not None
    return all(getattr(a, n) == getattr(b, n) for n in numbers) and (
        a.fingerprint.bits == b.fingerprint.bits and np.array_equal(a.fingerprint.thumb, b.fingerprint.thumb)
    )


def test_the_second_look_is_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PictureFactsCache(tmp_path / "looks.db") as at:
        first = [at.at(png(n)) for n in range(3)]
    monkeypatch.setattr(picture, "decode", None)
    with PictureFactsCache(tmp_path / "looks.db") as at:
        assert all(same(at.at(png(n)), first[n]) for n in range(3))


@pytest.mark.parametrize(("shape", "channels"), [((8, 9), 1), ((8, 9, 3), 3), ((8, 9, 4), 4)])
def test_channels_are_those_of_the_file(shape: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    with PictureFactsCache(tmp_path / "looks.db") as at:
        assert at.at(png(1, shape)).channels == channels


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "looks.db"
    path.write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with PictureFactsCache(path) as at:
            assert at.at(png(1)).width == 32
    assert path.read_bytes()[:6] == b"SQLite"


def test_the_newest_looks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_facts, "MAX_ROWS", 4)
    with PictureFactsCache(tmp_path / "looks.db") as at:
        for n in range(10):
            at.at(png(n))
    decoded: list[bytes] = []
    decode = picture.decode
    monkeypatch.setattr(picture, "decode", lambda body, limit: decoded.append(body) or decode(body, limit))
    with PictureFactsCache(tmp_path / "looks.db") as at:
        for n in range(6, 10):
            at.at(png(n))
        assert not decoded
        at.at(png(0))
    assert len(decoded) == 1


def test_a_look_at_a_large_picture_takes_little_beside_it() -> None:
    """Each thread of an import holds one: what a look takes counts as often as there are threads."""
    seen = picture.Picture(np.zeros((3000, 4000, 3), np.uint8))
    tracemalloc.start()
    try:
        picture_facts.facts_of(seen, "RGB")
        assert tracemalloc.get_traced_memory()[1] < 2 * 12e6, "a byte a pixel for the grey picture, and not eight more"
    finally:
        tracemalloc.stop()
