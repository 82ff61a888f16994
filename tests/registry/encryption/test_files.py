"""What is written comes back; what was changed, cut, swapped or renamed is refused, and never given out."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.core.errors import EncryptionError
from registry.encryption import files
from registry.encryption.files import Reader, Writer
from registry.encryption.format import HEADER_BYTES, MAGIC, PREAMBLE_BYTES, SEGMENT_BYTES, STREAM_HEAD_BYTES, start
from tests.conftest import PROJECT

FIRST = SEGMENT_BYTES - STREAM_HEAD_BYTES - 16
"""Plain bytes of the first segment; the others hold LATER."""
LATER = SEGMENT_BYTES - 16
SIZES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + LATER - 1, FIRST + LATER, FIRST + LATER + 1, 4 * SEGMENT_BYTES]
CONTENT = random.Random(1).randbytes(3 * SEGMENT_BYTES + 100)
NAME = "upload-7"


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_comes_back(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    files.write_file(whole, content, NAME)
    with Writer.create(pieces, NAME) as out:
        for at in range(0, size, 700_001):
            out.write(content[at : at + 700_001])
            assert out.written == min(size, at + 700_001)
        out.finish()
    for path in (whole, pieces):
        assert files.read_file(path, NAME) == content
        with Reader(path, NAME) as file:
            assert (file.size, file.read()) == (size, content)
    assert whole.stat().st_size == pieces.stat().st_size


def test_any_part_is_read_alone(tmp_path: Path) -> None:
    files.write_file(tmp_path / "video", CONTENT, NAME)
    edges = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + LATER, len(CONTENT) - 1, len(CONTENT), len(CONTENT) + 5]
    with Reader(tmp_path / "video", NAME) as file:
        for offset in edges:
            for length in (0, 1, 2, LATER, LATER + 2, None):
                end = None if length is None else offset + length
                assert file.read(offset, length) == CONTENT[offset:end], (offset, length)


def test_a_part_needs_only_its_segment_and_the_last(tmp_path: Path) -> None:
    path = tmp_path / "video"
    files.write_file(path, CONTENT, NAME)
    flip(path, start(0) + 10)
    with Reader(path, NAME) as file:
        assert file.read(FIRST, 100) == CONTENT[FIRST : FIRST + 100]
        with pytest.raises(EncryptionError, match="segment 0"):
            file.read(FIRST - 1, 2)


def test_the_file_shows_nothing_and_no_two_are_alike(tmp_path: Path) -> None:
    content = b"a patient " * 1000
    first, second = (files.write_file(tmp_path / name, content, NAME).read_bytes() for name in "ab")
    assert b"patient" not in first
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]
    assert first[len(MAGIC) : HEADER_BYTES] != second[len(MAGIC) : HEADER_BYTES]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def swap(path: Path) -> None:
    content = path.read_bytes()
    one, two = (content[start(n) : start(n + 1)] for n in (1, 2))
    path.write_bytes(content[: start(1)] + two + one + content[start(3) :])


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "magic": lambda path: flip(path, 0),
    "format version": lambda path: flip(path, len(MAGIC) - 1),
    "head of the stream": lambda path: flip(path, HEADER_BYTES),
    "salt": lambda path: flip(path, HEADER_BYTES + 1),
    "nonce prefix": lambda path: flip(path, PREAMBLE_BYTES - 1),
    "first segment": lambda path: flip(path, start(0)),
    "tag of the first segment": lambda path: flip(path, start(1) - 1),
    "middle segment": lambda path: flip(path, start(2) + 1000),
    "last segment": lambda path: flip(path, start(3)),
    "last byte": lambda path: flip(path, path.stat().st_size - 1),
    "swapped segments": swap,
    "cut to nothing": lambda path: cut(path, 0),
    "cut in the header": lambda path: cut(path, HEADER_BYTES - 1),
    "cut in the head of the stream": lambda path: cut(path, PREAMBLE_BYTES - 1),
    "cut before the first segment": lambda path: cut(path, PREAMBLE_BYTES),
    "cut at a segment": lambda path: cut(path, start(2)),
    "cut in a segment": lambda path: cut(path, start(2) + 500),
    "cut in a tag": lambda path: cut(path, start(2) + 5),
    "cut by a byte": lambda path: cut(path, path.stat().st_size - 1),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0") and None,
    "a segment twice": lambda path: (
        path.write_bytes(path.read_bytes()[: start(3)] + path.read_bytes()[start(2) :]) and None
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("by", ["whole", "parts"])
def test_what_was_changed_is_refused(tmp_path: Path, damage: str, by: str) -> None:
    path = tmp_path / "scan"
    files.write_file(path, CONTENT, NAME)
    DAMAGES[damage](path)
    with pytest.raises(EncryptionError) as caught:
        files.read_file(path, NAME) if by == "whole" else Reader(path, NAME).read()
    assert caught.value.expected
    assert caught.value.fix


def test_both_slots_of_the_header_must_be_damaged_to_lose_the_key(tmp_path: Path) -> None:
    """A rotation that ends in the middle of one leaves the other."""
    path, slot = tmp_path / "scan", (HEADER_BYTES - len(MAGIC)) // 2
    files.write_file(path, CONTENT, NAME)
    flip(path, len(MAGIC) + 20)
    assert files.read_file(path, NAME) == CONTENT
    flip(path, len(MAGIC) + slot + 20)
    with pytest.raises(EncryptionError, match="header"):
        files.read_file(path, NAME)


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    mine, yours = (files.write_file(tmp_path / name, CONTENT, name) for name in ("mine", "yours"))
    os.replace(mine, yours)
    with pytest.raises(EncryptionError, match="yours cannot be decrypted"):
        Reader(yours, "yours")


def test_a_file_from_before_encryption_is_read_where_that_is_asked(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"a scan")
    assert files.read_file(tmp_path / "old", NAME, or_plain=True) == b"a scan"
    with pytest.raises(EncryptionError, match="not an encrypted file"):
        files.read_file(tmp_path / "old", NAME)


PEAK = """
import sys, tracemalloc
from pathlib import Path
from registry.encryption.files import Reader, Writer
path, segments = Path(sys.argv[1]), int(sys.argv[2])
tracemalloc.start()
with Writer.create(path, "video") as out:
    for _ in range(2 * segments):
        out.write(bytes(1 << 19))
    out.finish()
with Reader(path, "video") as file:
    assert sum(map(len, file.pieces())) == segments << 20
print(tracemalloc.get_traced_memory()[1])
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(segments: int) -> int:
        command = [sys.executable, "-c", PEAK, str(tmp_path / "video"), str(segments)]
        return int(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout)

    assert peak(40) < peak(4) + SEGMENT_BYTES
