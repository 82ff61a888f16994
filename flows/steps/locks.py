"""One run of a model's loop at a time on this machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.core import journal
from registry.core.settings import settings

_held: dict[str, int] = {}
"""Model -> descriptor of the lock that this process holds."""


def _file(model: str) -> Path:
    return settings().var / "run" / f"loop-{model}.lock"


def is_busy(model: str) -> bool:
    """Whether a run of a model's loop is under way on this machine."""
    try:
        with _file(model).open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def exclusive(model: str) -> Iterator[None]:
    """Held by whatever changes a model's data or `build/<model>`. A second run waits, and says so."""
    path = _file(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            journal.fact("data", f"another run of {model} is under way; this one waits for it", model)
            fcntl.flock(handle, fcntl.LOCK_EX)
        _held[model] = handle.fileno()
        try:
            yield
        finally:
            del _held[model]


def inherited(model: str) -> tuple[int, ...]:
    """Descriptors for a child that works under the lock. If this process is killed, the child keeps the lock."""
    return (_held[model],) if model in _held else ()
