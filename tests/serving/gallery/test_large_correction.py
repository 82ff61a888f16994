"""A correction is sent on while it comes in: a large mask takes no memory in the web application."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.serving.conftest import Processes
from tests.serving.gallery import results
from tests.serving.gallery.planted import plant

MIB = 1 << 20


def test_a_large_correction_takes_no_memory(anna: httpx.Client, router: str, processes: Processes) -> None:
    (run,) = plant(results.classes(owner="anna@example.org", prediction_id="0" * 32))
    pid = processes.running["web"].pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before = _peak(pid)
    answer = anna.post(
        f"/feedback/{run}", content=bytes(48 * MIB), headers={"Content-Type": "application/octet-stream"}
    )
    assert "prediction" in answer.json()["found"]  # the router's words: none, or none that it knows yet
    assert answer.status_code in (404, 503)
    assert _peak(pid) - before < 24 * MIB


def _peak(pid: int) -> int:
    """Bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
