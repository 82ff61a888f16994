"""The first administrator of the web application, made when the stack starts first.

In a process of its own: Django is configured once a process, and this one may have done so without people's tables.
"""

from __future__ import annotations

import subprocess
import sys

from registry.core.settings import settings

_WITHIN_S = 120.0


def first_login() -> str:
    """How to log in, if the first administrator was made now; "" where there is one. Says so if it failed."""
    argv = [sys.executable, "-m", "serving.launchers.first_administrator"]
    try:
        done = subprocess.run(
            argv,
            env=settings().child_environment(),
            cwd=settings().root,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return "no administrator was made in time: `visionloop users create EMAIL --role administrator`"
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it ended"])[-1]
        return f"no administrator was made: {why}; `visionloop users create EMAIL --role administrator` makes one"
    return done.stdout.strip()
