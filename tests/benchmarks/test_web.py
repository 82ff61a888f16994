"""The benchmark of the web application works, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.web_people import Clock
from tests.conftest import PROJECT

SMALL = ("--people", "3", "--seconds", "6", "--think", "1", "--rounds", "2", "--uploads", "1", "--megabytes", "8")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_small_run_ends_with_a_table(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "tests.benchmarks.web", *SMALL]
    done = subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, check=False)
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 20, done.stderr
    measured = {row[0].strip(): row[1].strip() for row in rows}
    assert measured["... errors"] == "0", measured
    assert measured["API calls that were not answered with 200"] == "0", measured
    assert float(measured["beside people / beside plain calls"].split()[0]) > 0
    assert not list(tmp_path.glob("visionloop-*")), "the scratch folder is removed"
    assert done.returncode == sum("missed" in row[3] for row in rows)


def test_the_time_of_people_stands_still_between_stretches() -> None:
    async def thinks() -> list[bool]:
        clock = Clock()
        clock.run()
        thought = asyncio.create_task(clock.sleep(0.05))
        await asyncio.sleep(0)
        clock.stop()
        await asyncio.sleep(0.2)
        seen = [thought.done()]
        clock.run()
        await asyncio.wait_for(thought, 10)
        return [*seen, thought.done(), clock.now() >= 0.05]

    assert asyncio.run(thinks()) == [False, True, True]
