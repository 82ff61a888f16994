"""Reading the log files of the stack's processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 256 * 1024


def tail(file: Path, count: int) -> list[str]:
    """The last `count` lines of a file, of its last 256 KiB at most. An absent file has no lines."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - MOST_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-count:] if count > 0 else []
    except OSError:
        return []


def appended(file: Path, offsets: dict[Path, int]) -> Iterator[str]:
    """The whole lines that came since the last call. `offsets` remembers, per file, how far it was read."""
    with suppress(OSError), file.open("rb") as stream:
        if file.stat().st_size < offsets[file]:
            offsets[file] = 0  # the log was rotated
        stream.seek(offsets[file])
        fresh = stream.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        offsets[file] += len(whole)
        yield from whole.decode(errors="replace").splitlines()
