"""The keeper: ships what others wrote, goes on where a killed one was, removes what is old, leaves in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from monitoring.log import inputs
from monitoring.log.shipping import KEEPER
from registry.core.files import write_file
from registry.core.settings import settings
from tests.serving.conftest import PROJECT
from tests.waiting import until

WRITER = """
import sys
from monitoring.log.writer import PredictionLog
from tests.monitoring.conftest import make_record
log = PredictionLog("writer")
log.start()
for line in sys.stdin:
    record = make_record()
    log.record(record)
    print(record.id, flush=True)
log.close()
print("django" in sys.modules, flush=True)
"""


@contextmanager
def running(*argv: str, **changed: str) -> Iterator[subprocess.Popen[str]]:
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT), **changed}
    process = subprocess.Popen(
        [sys.executable, *argv], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def keeper() -> AbstractContextManager[subprocess.Popen[str]]:
    return running("-m", "serving.launchers.keeper")


def stored() -> set[str]:
    from monitoring.log.models import Prediction

    return set(Prediction.objects.values_list("id", flat=True))


def recorded(writer: subprocess.Popen[str], count: int) -> set[str]:
    """The ids of so many more records."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    found = set()
    for _ in range(count):
        writer.stdin.write("one more\n")
        writer.stdin.flush()
        found.add(writer.stdout.readline().strip())
    return found


def test_it_ships_for_processes_that_need_no_database(home: Path) -> None:
    with running("-c", WRITER, **{KEEPER: "there"}) as writer:
        with keeper() as first:
            told = recorded(writer, 50)
            until(lambda: told <= stored())
            told |= recorded(writer, 50)
            first.kill()  # with -9, in the middle of it
            told |= recorded(writer, 50)
        time.sleep(0.6)
        with keeper() as second:
            until(lambda: told <= stored())
            told |= recorded(writer, 1)
            second.terminate()
            time.sleep(0.5)
            out, _ = writer.communicate()  # its input is over: it ends, later than the keeper was told to
            assert second.wait(10) == 0
        assert out.split() == ["False"], "it loaded the database's layer"
    assert stored() == told
    assert not list((home / "spool").iterdir())


def test_it_removes_what_is_older_than_it_is_kept(home: Path) -> None:
    old, new = (inputs.path_of("m", time.time(), name * 32, ".png") for name in "ab")
    task = home / "tasks" / ("c" * 32)
    task.mkdir(parents=True)
    for path in (old, new):
        write_file(path, b"x")
    for aged in (old, task):
        os.utime(aged, (0, 0))
    with keeper():
        until(lambda: not old.exists() and not task.exists())
    assert new.exists()
