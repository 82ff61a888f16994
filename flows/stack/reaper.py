"""`python -m flows.stack.reaper`: starts the supervisor and outlives it, so that its end leaves nothing behind.

A supervisor that is killed with -9 cannot stop its children. The reaper does it then. It does nothing else, so
there is little that could end it; should both be killed at once, the next `up` or `down` finds what is left.
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
    for _ in range(3):  # what is being ended may have started one more meanwhile
        if not orphans.end(orphans.find(var), grace_s=2.0):
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
