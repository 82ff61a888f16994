"""Runs `infra/aws/app.py` in its own environment, as people do."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from flows.deploy.aws import _path_with_node
from tests.conftest import PROJECT

ENVIRONMENT = PROJECT / ".venv-aws"
PYTHON = ENVIRONMENT / "bin" / "python"
MISSING = "`make aws-setup` makes the environment (.venv-aws) that these tests run the CDK in"
needs_cdk = pytest.mark.skipif(not PYTHON.is_file(), reason=MISSING)


def run_app(out: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Without a network: a proxy that is not there stands in its way."""
    env = {
        **os.environ,
        "PATH": _path_with_node(ENVIRONMENT),
        "CDK_OUTDIR": str(out),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    env |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    app = PROJECT / "infra" / "aws" / "app.py"
    return subprocess.run([str(PYTHON), str(app)], env=env, capture_output=True, text=True, timeout=1200, check=False)


@cache
def templates(size: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The templates of a size by stack. `folder` keeps them for all tests of this process."""
    out = folder / size
    done = run_app(out, size=size)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in out.glob("*.template.json")}
    assert set(found) == {"visionloop-data", "visionloop-run"}
    return found
