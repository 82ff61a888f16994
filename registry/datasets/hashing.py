"""The hash by which a data set is named: in data.dvc, bundles, decisions and the results of data checks."""

from __future__ import annotations

from pathlib import Path


def dvc_hash(folder: Path) -> str:
    """DVC's own md5 of a folder, e.g. `d41d...427e.dir`."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem
    from dvc_objects.fs.memory import MemoryFileSystem

    base = HashFileDB(MemoryFileSystem(), "memory://hash")
    _, _, tree = build(base, str(folder), LocalFileSystem(), "md5", dry_run=True)
    return str(tree.hash_info.value)
