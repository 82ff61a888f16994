"""Which files one worker of `make test` runs, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ORDER = ("serving", "flows", "training", "monitoring", "registry")
"""The packages, longest first: files are dealt in this order, and what comes last should be short."""

TOGETHER = {
    "a Bento, its service and a router": (
        "serving/access",
        "serving/guard/test_guard.py",
        "serving/launchers/test_endurance.py",
        "serving/launchers/test_router.py",
        "serving/releases/test_packaging.py",
        "serving/releases/test_release_plans.py",
        "serving/service/test_drain.py",
        "serving/service/test_service.py",
    ),
    "the web application and a browser": (
        "serving/accounts",
        "serving/gallery",
        "serving/office",
        "serving/runs",
        "serving/walk",
        "serving/web",
    ),
    "PostgreSQL": ("serving/postgres", "registry/core/test_postgres.py"),
    "TensorFlow": (
        "training/engines/test_engine_keras.py",
        "training/prune/test_keras_pruning.py",
        "training/workspace/test_keras_files.py",
        "registry/models/test_face_gender.py",
        "registry/models/test_suspect_classification.py",
    ),
}
"""What takes seconds to start, and the files that use it: one worker runs them all. The rest is dealt file by file."""


def place(path: Path) -> int:
    """Where in `ORDER` a test stands. `path`: its file, below tests/."""
    return ORDER.index(path.parts[0]) if path.parts[0] in ORDER else len(ORDER)


def scheduler(config: Any, log: Any) -> Any:
    """xdist's `--dist loadfile`, with `TOGETHER`."""
    from xdist.scheduler import LoadFileScheduling

    class Dealing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            below = file.removeprefix("tests/")
            return next((name for name, files in TOGETHER.items() if below.startswith(files)), file)

    return Dealing(config, log)
