"""`python -m flows.stack.reaper`: starts the supervisor, outlives it, and ends what it leaves behind.

A supervisor that is killed with -9 cannot stop its children; the reaper does. It does nothing else, so little can end
it. If both are killed at once, the next `up` or `down` ends what is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from flows.stack import orphans


def main() -> int:
    var = Path(os.environ["VISIONLOOP_VAR"])
    child = subprocess.Popen([sys.executable, "-m", "flows.stack.supervisor", *sys.argv[1:]])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    code = child.wait()
    for _ in range(3):  # a process that is ending may have started another
        if not orphans.end(orphans.find(var), grace_s=2.0):
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
