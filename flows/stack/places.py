"""Checks, before anything is started, that the stack can work where the project folder is."""

from __future__ import annotations

import tempfile
from pathlib import Path

from registry.buckets import regions
from registry.core.errors import Refused, SettingsError
from registry.core.files import require_free_space
from registry.core.settings import Settings

SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux, 104 on macOS."""
RESTORING = ".restoring"
"""A folder in `var`: a backup that is being restored. It is renamed file by file in the end."""
FORBIDDEN = {
    "?": "SQLite's addresses end at it",
    "$": "BentoML reads it as a variable",
    ":": "it separates the folders in PATH",
}
"""Character -> why a path must not have it. Control characters cannot work either."""


def check(settings: Settings) -> None:
    """Checks the paths of the project folder and of `var`, and that there is space to write.

    Raises:
        SettingsError: a path has a character that cannot work.
        Refused: a restore was interrupted, or a bucket is outside of `s3_regions`.
        BadInput: a setting names a bucket that does not exist.
        MissingService: that bucket does not answer.
        StorageError: the disk of `var` is full.
    """
    for name, folder in (("the project folder", settings.root), ("var", settings.var)):
        for letter in str(folder):
            why = FORBIDDEN.get(letter, "" if letter.isprintable() else "it does not belong in a path")
            if why:
                raise SettingsError(
                    f"the path of {name}, {str(folder)!r}, has the character {letter!r}: {why}",
                    expected="a path without ? $ : and control characters",
                    fix="rename or move that folder" + (", or set VISIONLOOP_VAR" if name == "var" else ""),
                )
    if (settings.var / RESTORING).exists():
        raise Refused(
            f"a restore of {settings.var} was interrupted",
            expected="one that has ended",
            fix="run the same `visionloop restore` again",
        )
    require_free_space(settings.var, 10)  # for databases and logs
    if not settings.mlflow_uri:
        regions.check(settings.mlflow_artifacts)
    regions.check(settings.dvc_remote)


def control_socket(run: Path) -> Path:
    """A path for the supervisor's socket: in `run`, or in a temporary folder if that path is too long.

    Raises:
        SettingsError: the paths of all temporary folders are too long as well.
    """
    path = run / "supervisor.sock"
    if len(str(path).encode()) <= SOCKET_PATH_LIMIT:
        return path
    for folder in (tempfile.gettempdir(), "/tmp"):
        if len(folder.encode()) < SOCKET_PATH_LIMIT - 20 and Path(folder).is_dir():
            return Path(tempfile.mkdtemp(prefix="vl-", dir=folder)) / "s"
    raise SettingsError(
        f"the supervisor's socket cannot be at {path}, nor in {tempfile.gettempdir()}",
        expected=f"a path of {SOCKET_PATH_LIMIT} bytes at most for a UNIX socket",
        fix="set TMPDIR to a folder with a short path",
    )
