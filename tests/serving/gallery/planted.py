"""Runs that are done, or in another `state`, put where the web application finds them: in a process of its own, as
`tests.serving.people`.

`python -m tests.serving.gallery.planted FOLDER` reads `FOLDER/*/run.json` (fields of a run, its `owner` by address) and
the files beside it, and prints the ids.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from registry.core.settings import settings
from tests.conftest import PROJECT

RUN = "run.json"


def plant(*runs: tuple[Mapping[str, Any], Mapping[str, bytes]]) -> list[str]:
    """Runs as (fields, files); returns their ids. One without an `owner` is an example, which everybody may see."""
    with TemporaryDirectory() as folder:
        for number, (fields, files) in enumerate(runs):
            place = Path(folder) / f"{number:03d}"
            place.mkdir()
            (place / RUN).write_text(json.dumps(fields))
            for name, content in files.items():
                (place / name).write_bytes(content)
        env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-m", "tests.serving.gallery.planted", folder]
        made = subprocess.run(command, env=env, cwd=settings().root, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.split()


def _planted(place: Path) -> str:
    from serving.accounts.models import User
    from serving.runs import files
    from serving.runs.models import Run, State

    fields = json.loads((place / RUN).read_text())
    owner = User.objects.get(email=fields.pop("owner")) if "owner" in fields else None
    content = (place / files.INPUT).read_bytes()
    usual = {"state": State.DONE, "size": len(content), "received": len(content)}
    run = Run(**{**usual, **fields}, owner=owner)
    for path in place.iterdir():
        if path.name != RUN:
            files.write(run.id, path.name, path.read_bytes())
    run.save(force_insert=True)
    return run.id


if __name__ == "__main__":
    from serving.web import configuration

    configuration.setup()
    print(*[_planted(place) for place in sorted(Path(sys.argv[1]).iterdir())])
