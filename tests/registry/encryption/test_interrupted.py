"""A writer that was killed: another one goes on where the file ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.core.errors import EncryptionError, Refused, StorageError
from registry.encryption import files
from registry.encryption.files import Reader, Writer
from registry.encryption.format import SEGMENT_BYTES, room, start
from tests.conftest import PROJECT
from tests.disks import small_disk

NAME = "upload-7"
CONTENT = random.Random(7).randbytes(12 * SEGMENT_BYTES + 5)
PIECE = 300_000
UPLOAD = f"""
import random, sys
from pathlib import Path
from registry.encryption.files import Writer
content = random.Random(7).randbytes({len(CONTENT)})
path, begin = Path(sys.argv[1]), sys.argv[2]
with (Writer.create if begin == "new" else Writer.reopen)(path, "{NAME}") as out:
    for at in range(out.stored, len(content), {PIECE}):
        out.write(content[at : at + {PIECE}])
        print(out.stored, flush=True)
        sys.stdin.readline()
    out.finish()
"""


def killed_after(pieces: int, path: Path, begin: str, project: Path) -> int:
    """Kills a process that uploads after so many pieces. Returns what it said to be stored."""
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(path), begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=PROJECT, env={**os.environ, "VISIONLOOP_ROOT": str(project)},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    stored = 0
    for _ in range(pieces):
        stored = int(process.stdout.readline())
        process.stdin.write("\n")
        process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return stored


def test_an_upload_goes_on_after_kill_9_and_again(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "video"
    first = killed_after(12, path, "new", project)
    with pytest.raises(EncryptionError, match="no end"):
        Reader(path, NAME)
    second = killed_after(9, path, "again", project)
    assert SEGMENT_BYTES < first < second < len(CONTENT)
    with Writer.reopen(path, NAME) as out:
        assert out.stored >= second
        assert out.written == out.stored
        assert out.sync() == out.stored
        out.write(CONTENT[out.stored :])
        out.finish()
    assert files.read_file(path, NAME) == CONTENT


@pytest.mark.parametrize("torn", [0, 1, 40, 1000, SEGMENT_BYTES - 1])
def test_a_segment_that_was_cut_off_is_written_again(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "video"
    interrupted(path, torn)
    with Writer.reopen(path, NAME) as out:
        assert out.stored == room(0) + room(1)
        out.write(CONTENT[out.stored :])
        out.finish()
    assert files.read_file(path, NAME) == CONTENT


def interrupted(path: Path, torn: int) -> None:
    """A file that ends `torn` bytes into its third segment."""
    with Writer.create(path, NAME) as out:
        out.write(CONTENT)
    os.truncate(path, start(2) + torn)


def test_other_bytes_in_place_of_those_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    """The nonce of a segment is used for one plain text only."""
    path = tmp_path / "video"
    interrupted(path, 1000)
    with Writer.reopen(path, NAME) as out, pytest.raises(EncryptionError, match="does not go on as it began"):
        out.write(bytes(2 * SEGMENT_BYTES))


@pytest.mark.parametrize("size", [0, 5, room(0), room(0) + 1, room(0) + room(1)])
def test_a_finished_file_is_not_continued(tmp_path: Path, size: int) -> None:
    files.write_file(tmp_path / "scan", bytes(size), NAME)
    with pytest.raises(Refused, match="finished"):
        Writer.reopen(tmp_path / "scan", NAME)
    assert files.read_file(tmp_path / "scan", NAME) == bytes(size)


def test_a_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with Writer.create(tmp_path / "video", NAME) as out:
        out.write(CONTENT)
        with pytest.raises(Refused, match="being written"):
            Writer.reopen(tmp_path / "video", NAME)
    Writer.reopen(tmp_path / "video", NAME).close()


def test_an_upload_does_not_go_on_under_another_name_or_on_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "video"
    interrupted(path, 0)
    with pytest.raises(EncryptionError, match="segment 1"):
        Writer.reopen(path, "upload-8")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(EncryptionError, match="segment 1"):
        Writer.reopen(path, NAME)


def test_a_full_disk_stops_an_upload_that_goes_on_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 20 * SEGMENT_BYTES) as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(15 * SEGMENT_BYTES))
        with Writer.create(disk / "video", NAME) as out:
            with pytest.raises(StorageError, match="the disk is full"):
                out.write(CONTENT)
            filler.unlink()
            out.write(CONTENT[out.written :])
            out.finish()
        assert files.read_file(disk / "video", NAME) == CONTENT
