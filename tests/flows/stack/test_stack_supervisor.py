"""The supervisor, with small real children: started, killed, replaced, given up, and gone after `down`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from flows.process import SERVICE_GRACE_S, ProcessSpec, ProcessStatus
from flows.stack import layout, orphans, ports
from flows.stack.control import Stack
from flows.stack.supervisor import Supervisor
from registry.core.errors import MissingService, NotFound, SettingsError
from registry.core.files import write_file
from registry.core.settings import Settings, read_settings
from serving.releases.deploy import free_port
from serving.service import launch
from tests.waiting import until

HOME = ("home",)


def server(port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]


def start_server(stack: Stack, name: str = "small") -> tuple[ProcessStatus, str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    return stack.start(name, server(port), ready_url=address, url=address), address


def of(stack: Stack, name: str) -> ProcessStatus:
    return next(one for one in stack.status() if one.name == name)


def gone(pid: int) -> bool:
    """A zombie is gone too: it only waits for the first process of the container to notice."""
    try:
        return not orphans.alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


def test_the_story_page_answers_at_once_and_a_second_up_changes_nothing(stack: Stack) -> None:
    assert stack.up(HOME)
    assert httpx.get(stack.config.home_address).status_code == 200
    pid = of(stack, "home").pid
    assert not stack.up(HOME)
    assert of(stack, "home").pid == pid


def test_status_says_that_predictions_left_the_full_spool(stack: Stack) -> None:
    stack.up(("keeper",))
    assert "dropped" not in of(stack, "keeper").note
    dropped = {"counts": {"m-1": 1200, "m-2": 34}, "last": time.time()}
    write_file(stack.config.var / "spool" / "dropped.json", json.dumps(dropped))
    assert of(stack, "keeper").note.startswith("1,234 predictions dropped by the full spool (spool_mb), the last at 20")
    write_file(stack.config.var / "spool" / "dropped.json", json.dumps({**dropped, "last": time.time() - 30 * 86400}))
    assert "dropped" not in of(stack, "keeper").note


def test_down_leaves_no_process_no_socket_and_no_pid_file(stack: Stack) -> None:
    stack.up(HOME)
    start_server(stack)
    assert len(orphans.find(stack.config.var)) >= 3  # reaper, supervisor, child
    stack.down()
    assert orphans.find(stack.config.var) == []
    assert [file.name for file in stack.run.iterdir() if not file.name.endswith(".lock")] == []
    assert not stack.running()
    assert stack.down() == 0


def test_a_killed_child_is_replaced_and_answers_again(stack: Stack) -> None:
    stack.up(HOME)
    before, address = start_server(stack)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: of(stack, "small").restarts == 1 and of(stack, "small").ready)
    assert of(stack, "small").pid != before.pid
    assert httpx.get(address).is_success


def test_what_a_killed_child_had_started_does_not_outlive_it(stack: Stack, tmp_path: Path) -> None:
    """The grandchild leaves the process group, as daemons do, and ignores SIGTERM."""
    note = tmp_path / "grandchild"
    script = (
        "import os, signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'], start_new_session=True)\n"
        f"open({str(note)!r}, 'a').write(f'{{child.pid}}\\n')\n"
        "time.sleep(600)\n"
    )
    stack.up(HOME)
    leader = stack.start("family", [sys.executable, "-c", script])
    until(note.exists)
    first = psutil.Process(int(note.read_text().split()[0]))
    os.kill(leader.pid, signal.SIGKILL)
    until(lambda: not orphans.alive(first))
    until(lambda: len(note.read_text().split()) == 2)
    second = psutil.Process(int(note.read_text().split()[1]))
    stack.stop("family")
    assert not orphans.alive(second)
    stack.stop("family")  # gone already: nothing to say


def test_killing_the_supervisor_takes_everything_with_it(stack: Stack) -> None:
    stack.up(HOME)
    child, _ = start_server(stack)
    os.kill(of(stack, "home").pid, signal.SIGKILL)
    until(lambda: gone(child.pid) and not orphans.find(stack.config.var))
    assert stack.up(HOME)


def test_up_sweeps_what_was_left_when_reaper_and_supervisor_were_killed_together(stack: Stack) -> None:
    stack.up(HOME)
    child, _ = start_server(stack)
    reaper = json.loads((stack.run / "reaper.json").read_text())["pid"]
    supervisor = of(stack, "home").pid
    os.kill(reaper, signal.SIGSTOP)  # so that it cannot tidy up before it dies
    os.kill(supervisor, signal.SIGKILL)
    os.kill(reaper, signal.SIGKILL)
    assert psutil.Process(child.pid).is_running()
    assert stack.up(HOME)
    until(lambda: gone(child.pid))


def test_a_supervisor_without_its_reaper_ends_in_order(stack: Stack) -> None:
    stack.up(HOME)
    child, _ = start_server(stack)
    os.kill(json.loads((stack.run / "reaper.json").read_text())["pid"], signal.SIGKILL)
    until(lambda: gone(child.pid) and not stack.running())


def test_a_recycled_pid_is_never_killed(stack: Stack) -> None:
    """A pid file that names a process which started at another time is stale."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stack.run.mkdir(parents=True)
        stale = {"name": "mlflow", "pid": stranger.pid, "created": time.time() - 86_400}
        (stack.run / "mlflow.json").write_text(json.dumps(stale))
        (stack.run / "supervisor.json").write_text(json.dumps({**stale, "socket": str(stack.run / "supervisor.sock")}))
        (stack.run / "supervisor.sock").touch()
        assert stack.up(HOME)
        stack.down()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_does_not_come_up_says_its_last_words(stack: Stack) -> None:
    stack.up(HOME)
    argv = [sys.executable, "-c", "print('no licence for this'); raise SystemExit(3)"]
    with pytest.raises(MissingService, match="no licence for this") as caught:
        stack.start("broken", argv, ready_url="http://127.0.0.1:9/", restart=False)
    assert "ended with 3" in caught.value.found
    assert "broken.log" in caught.value.fix
    assert "broken" not in [one.name for one in stack.status()]


def test_a_process_that_dies_again_and_again_is_given_up(stack: Stack) -> None:
    stack.up(HOME)
    with pytest.raises(MissingService, match="given up after 5 quick deaths"):
        stack.start("dying", [sys.executable, "-c", "raise SystemExit(1)"], ready_url="http://127.0.0.1:9/")


def test_a_process_that_is_stopped_may_finish_what_it_works_on(stack: Stack, tmp_path: Path) -> None:
    stack.up(HOME)
    finished = tmp_path / "finished"
    script = (
        "import pathlib, signal, sys, time\n"
        "def finish(*_):\n"
        "    time.sleep(11)\n"
        f"    pathlib.Path({str(finished)!r}).touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, finish)\n"
        "time.sleep(600)\n"
    )
    stack.start("busy", [sys.executable, "-c", script])
    stack.stop("busy")
    assert finished.exists()


def test_nothing_is_killed_before_its_own_time_for_requests_in_flight_is_over(config: Settings) -> None:
    (router,) = (spec for spec in layout.specs(config) if spec.name == "router")
    assert router.grace_s > config.request_timeout_s
    assert SERVICE_GRACE_S > launch.DRAIN_S


def test_a_process_that_never_answers_is_named(stack: Stack) -> None:
    stack.up(HOME)
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(MissingService, match="mute did not become ready"):
        stack.start("mute", argv, ready_url="http://127.0.0.1:9/", start_timeout_s=1.5)


def test_a_one_off_that_ends_well_is_done(stack: Stack) -> None:
    stack.up(HOME)
    assert stack.start("once", [sys.executable, "-c", "pass"], restart=False).state == "done"


def test_a_started_process_of_the_same_name_replaces_the_old_one(stack: Stack) -> None:
    stack.up(HOME)
    first, _ = start_server(stack)
    second, address = start_server(stack)
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


def test_children_get_the_quiet_environment_of_this_project(stack: Stack, tmp_path: Path) -> None:
    stack.up(HOME)
    out = tmp_path / "environment"
    script = f"import json, os; open({str(out)!r}, 'w').write(json.dumps(dict(os.environ)))"
    stack.start("env", [sys.executable, "-c", script], env={"MINE": "1"}, restart=False)
    found = json.loads(out.read_text())
    assert (found["MINE"], found["DO_NOT_TRACK"]) == ("1", "1")
    assert found["VISIONLOOP_VAR"] == str(stack.config.var)
    assert found["MLFLOW_TRACKING_URI"] == stack.config.mlflow_address


def test_a_busy_port_is_named_with_its_holder_and_the_setting(stack: Stack) -> None:
    port = stack.config.router_port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SettingsError) as caught:
        stack.up()
    assert f"port {port}, which router needs, is held by process {os.getpid()}" in caught.value.found
    assert "VISIONLOOP_ROUTER_PORT" in caught.value.fix
    assert not stack.running()


def test_two_processes_that_want_one_port_are_named(config: Settings) -> None:
    specs = [ProcessSpec(name, ("-",), port=config.home_port, setting=f"{name}_port") for name in ("a", "b")]
    with pytest.raises(SettingsError, match="wanted by both a and b"):
        ports.check(config.host, specs)


def test_two_ups_at_once_make_one_stack(stack: Stack) -> None:
    command = [sys.executable, "-c", "from flows.stack.control import Stack; print(Stack().up(('home',)))"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(one.communicate(timeout=60)[0].strip() for one in both) == ["False", "True"]
    assert stack.running()


def test_a_long_path_to_var_is_no_obstacle(tmp_path: Path, config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unix socket's path may have about 100 bytes."""
    var = tmp_path / ("a-rather-long-name-" * 6) / "var"
    monkeypatch.setenv("VISIONLOOP_VAR", str(var))
    stack = Stack(read_settings())
    try:
        assert stack.up(HOME)
        assert of(stack, "home").state == "ready"
    finally:
        stack.down()
    assert orphans.find(var) == []


def test_asking_a_stack_that_is_down_says_how_to_start_it(stack: Stack) -> None:
    with pytest.raises(MissingService, match="the stack is not up") as caught:
        stack.status()
    assert "visionloop up" in caught.value.fix


def test_an_unknown_process_is_refused_before_anything_starts(stack: Stack) -> None:
    with pytest.raises(NotFound, match="no process 'mlfow'"):
        stack.up(["mlfow"])
    assert not stack.running()


@pytest.mark.parametrize("name", ["", "a/b", "a b", "../x"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        ProcessSpec(name, ("true",))
