"""`visionloop featurize` and `predict-batch`, as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from flows.batch import output
from registry.versions.bundle import Bundle
from tests.conftest import PROJECT
from tests.mlflow_stores import empty_store


def test_the_command_fetches_the_champion_and_says_what_it_did(pictures: Path, workspace: Path, bundle: Bundle) -> None:
    """No version, then one, then nothing left to do, then a model that makes no features; in one process, because
    each would begin with importing MLflow."""
    (pictures / "bad.png").write_bytes(b"no")
    empty_store(workspace / "mlflow.db")
    out = workspace / "features"
    code = f"""
import sys
from flows.cli import execute

def visionloop(*more):
    print("exit", execute(["featurize", {str(pictures)!r}, "--out", {str(out)!r}, "--local", *more]), flush=True)

visionloop()
from pathlib import Path
from registry.versions.bundle import open_bundle
from registry.versions.mlflow_registry import Versions
versions = Versions()
versions.promote(versions.register(open_bundle(Path({str(bundle.path)!r}))))
visionloop()
visionloop()
visionloop("--model", "skin_segmentation")
"""
    environment = dict(os.environ, PYTHONPATH=str(PROJECT))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=200, check=False, env=environment, cwd=workspace,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0] == "exit 4", done.stderr
    assert lines[1].startswith("101 pictures with fruit_features@1 in ")
    assert lines[2] == "exit 0"
    assert lines[3] == f"nothing to do: {out} holds all 101 pictures of fruit_features@1"
    assert lines[4:] == ["exit 0", "exit 4"]
    assert "`visionloop run fruit_features`" in done.stderr
    assert "1 could not be read: see the table `rejects`" in done.stderr
    assert json.loads((out / output.PLAN).read_text())["pictures"] == 101
