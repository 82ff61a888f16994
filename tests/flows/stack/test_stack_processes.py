"""The processes of a stack, with small real ones: started, killed, replaced, given up, stopped."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from flows.process import SERVICE_GRACE_S, ProcessSpec
from flows.stack import layout, orphans, supervised
from flows.stack.control import Stack
from flows.stack.supervisor import Supervisor
from registry.core.errors import MissingService
from registry.core.settings import Settings
from serving.releases.deploy import free_port
from serving.service import launch
from tests.flows.stack.servers import of, start_server
from tests.waiting import gone, until


def test_a_killed_child_is_replaced_and_answers_again(running_stack: Stack) -> None:
    before, address = start_server(running_stack)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: of(running_stack, "small").restarts == 1 and of(running_stack, "small").ready)
    assert of(running_stack, "small").pid != before.pid
    assert httpx.get(address).is_success


def test_what_a_killed_child_had_started_does_not_outlive_it(running_stack: Stack, tmp_path: Path) -> None:
    """The grandchild leaves the process group, as daemons do, and ignores SIGTERM."""
    note = tmp_path / "grandchild"
    script = (
        "import os, signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'], start_new_session=True)\n"
        f"open({str(note)!r}, 'a').write(f'{{child.pid}}\\n')\n"
        "time.sleep(600)\n"
    )
    leader = running_stack.start("family", [sys.executable, "-c", script])
    until(note.exists)
    first = psutil.Process(int(note.read_text().split()[0]))
    os.kill(leader.pid, signal.SIGKILL)
    until(lambda: not orphans.alive(first))
    until(lambda: len(note.read_text().split()) == 2)
    second = psutil.Process(int(note.read_text().split()[1]))
    running_stack.stop("family")
    assert not orphans.alive(second)
    running_stack.stop("family")  # gone already: nothing to say


def test_a_process_that_does_not_come_up_says_its_last_words(running_stack: Stack) -> None:
    argv = [sys.executable, "-c", "print('no licence for this'); raise SystemExit(3)"]
    with pytest.raises(MissingService, match="no licence for this") as caught:
        running_stack.start("broken", argv, ready_url="http://127.0.0.1:9/", restart=False)
    assert "ended with 3" in caught.value.found
    assert "broken.log" in caught.value.fix
    assert "broken" not in [one.name for one in running_stack.status()]


def test_a_process_that_dies_again_and_again_is_given_up(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "BACK_OFF_S", (0.01,))

    async def start() -> None:
        supervisor = Supervisor(config)
        dies = (sys.executable, "-c", "raise SystemExit(1)")
        try:
            await supervisor.start(ProcessSpec("dying", dies, ready_url="http://127.0.0.1:9/"))
        finally:
            await supervisor.tear_down()

    with pytest.raises(MissingService, match="given up after 5 quick deaths"):
        asyncio.run(start())


@pytest.mark.parametrize(("grace_s", "ends"), [(10, True), (0.2, False)])
def test_a_process_that_is_stopped_may_finish_what_it_works_on_for_a_while(
    running_stack: Stack, tmp_path: Path, grace_s: float, ends: bool
) -> None:
    finished = tmp_path / "finished"
    script = (
        "import pathlib, signal, sys, time\n"
        "def finish(*_):\n"
        "    time.sleep(1)\n"
        f"    pathlib.Path({str(finished)!r}).touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, finish)\n"
        "time.sleep(600)\n"
    )
    running_stack.start("busy", [sys.executable, "-c", script], grace_s=grace_s)
    running_stack.stop("busy")
    assert finished.exists() == ends


def test_nothing_is_killed_before_its_own_time_for_requests_in_flight_is_over(config: Settings) -> None:
    (router,) = (spec for spec in layout.specs(config) if spec.name == "router")
    assert router.grace_s > config.request_timeout_s
    default = inspect.signature(Stack.start).parameters["grace_s"].default
    assert default == SERVICE_GRACE_S > launch.DRAIN_S


def test_a_process_that_never_answers_is_named(running_stack: Stack) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(MissingService, match="mute did not become ready"):
        running_stack.start("mute", argv, ready_url="http://127.0.0.1:9/", start_timeout_s=1.5)


def test_a_process_that_works_is_slow_and_not_hung(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes for longer than its start time, as on a busy machine, and then answers."""
    monkeypatch.setattr(supervised, "PATIENCE", 60)  # this machine may be busy, too
    port = free_port()
    serves = f"h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    script = f"import http.server as h, time\nwhile time.process_time() < 2.0: pass\n{serves}"
    address = f"http://127.0.0.1:{port}/"
    spec = ProcessSpec("slow", (sys.executable, "-c", script), ready_url=address, start_timeout_s=1.0)

    async def start_and_stop() -> tuple[bool, int]:
        async with httpx.AsyncClient(trust_env=False) as http:
            process = supervised.Supervised(spec, config, http)
            process.start([])
            await asyncio.wait_for(process.settled.wait(), 60)
            found = process.status().ready, process.restarts
            await process.stop()
        return found

    assert asyncio.run(start_and_stop()) == (True, 0)


BEATING = (
    "import sys, time; from registry.core.heartbeat import beat; time.sleep(float(sys.argv[1]))\n"
    "while True: beat(); time.sleep(0.2)\n"
)


def test_a_process_without_an_address_is_ready_at_its_first_beat(running_stack: Stack) -> None:
    began = time.monotonic()
    assert running_stack.start_spec(ProcessSpec("late", (sys.executable, "-c", BEATING, "3"), beats=True)).ready
    assert time.monotonic() - began > 3
    running_stack.stop("late")


def test_a_process_without_an_address_that_hangs_is_replaced(running_stack: Stack) -> None:
    spec = ProcessSpec("beating", (sys.executable, "-c", BEATING, "0"), beats=True, hung_s=9.0, grace_s=0.5)
    hung = running_stack.start_spec(spec)
    os.kill(hung.pid, signal.SIGSTOP)
    until(lambda: of(running_stack, "beating").state == "unhealthy")
    assert of(running_stack, "beating").note == "no sign of life"
    until(lambda: of(running_stack, "beating").ready)
    assert of(running_stack, "beating").restarts == 1
    assert gone(hung.pid)
    assert "no sign of life for 9 s: restarting it" in Path(hung.log).read_text(encoding="utf-8")
    running_stack.stop("beating")


def test_guard_flows_and_keeper_beat(config: Settings) -> None:
    beating = [spec for spec in layout.specs(config) if not spec.ready_url and spec.restart]
    assert {spec.name for spec in beating if spec.beats} == {"guard", "flows", "keeper"}
    assert all(spec.beats for spec in beating)


def test_a_one_off_that_ends_well_is_done(running_stack: Stack) -> None:
    assert running_stack.start("once", [sys.executable, "-c", "pass"], restart=False).state == "done"


def test_a_started_process_of_the_same_name_replaces_the_old_one(running_stack: Stack) -> None:
    first, _ = start_server(running_stack)
    second, address = start_server(running_stack)
    assert second.pid != first.pid
    assert gone(first.pid)
    assert httpx.get(address).is_success


def test_two_starts_of_one_name_leave_one_process_which_can_be_stopped(config: Settings) -> None:
    async def start_twice_and_stop() -> tuple[int, int]:
        supervisor = Supervisor(config)
        spec = ProcessSpec("twice", (sys.executable, "-c", "import time; time.sleep(600)"))
        await asyncio.gather(*(supervisor.start(spec) for _ in range(2)), return_exceptions=True)
        running = len(orphans.find(config.var, "twice"))
        await supervisor.stop("twice")
        left = orphans.find(config.var, "twice")
        orphans.end(left)
        await supervisor.tear_down()
        return running, len(left)

    assert asyncio.run(start_twice_and_stop()) == (1, 0)


def test_children_get_the_quiet_environment_of_this_project(running_stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "environment"
    script = f"import json, os; open({str(out)!r}, 'w').write(json.dumps(dict(os.environ)))"
    running_stack.start("env", [sys.executable, "-c", script], env={"MINE": "1"}, restart=False)
    found = json.loads(out.read_text())
    assert (found["MINE"], found["DO_NOT_TRACK"]) == ("1", "1")
    assert found["VISIONLOOP_VAR"] == str(running_stack.config.var)
    assert found["MLFLOW_TRACKING_URI"] == running_stack.config.mlflow_address


@pytest.mark.parametrize("name", ["", "a/b", "a b", "../x"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        ProcessSpec(name, ("true",))
