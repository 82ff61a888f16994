"""The stack as a whole: up once, gone after `down` and after whatever kills its supervisor."""

from __future__ import annotations

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

from flows.process import ProcessSpec
from flows.stack import layout, orphans, ports
from flows.stack.control import Stack
from registry.core.errors import MissingService, NotFound, SettingsError
from registry.core.files import write_file
from registry.core.settings import Settings, read_settings
from tests.flows.stack.servers import HOME, of, start_server
from tests.waiting import gone, until


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


def test_a_busy_port_is_named_with_its_holder_and_the_setting(stack: Stack) -> None:
    port = stack.config.router_port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SettingsError) as caught:
        stack.up()
    assert f"port {port}, which router needs, is held by process {os.getpid()}" in caught.value.found
    assert "VISIONLOOP_ROUTER_PORT" in caught.value.fix
    assert not stack.running()


def test_a_port_that_another_program_has_is_named_before_a_process_of_a_running_stack_is_started(stack: Stack) -> None:
    stack.up(HOME)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", stack.config.drift_port)), pytest.raises(SettingsError, match="drift-ui"):
        stack.start_spec(layout.drift(stack.config))
    assert time.monotonic() - began < 10
    assert "drift-ui" not in [one.name for one in stack.status()]


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
