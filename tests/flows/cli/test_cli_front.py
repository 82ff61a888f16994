"""The front door: fast help, every error through one place, commands found by name."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import flows.cli as front
from flows.cli import COMMANDS, SECTIONS, Entry
from registry.core.errors import BadInput, MissingService, VisionloopError
from registry.core.settings import Settings
from tests.conftest import PROJECT

MAIN = "from flows.cli import main; main()"
FRAMEWORKS = ("torch", "tensorflow", "mlflow", "prefect", "evidently", "great_expectations", "bentoml", "django",
              "numpy", "pandas", "pydantic", "httpx", "rich", "psutil")  # fmt: skip


def visionloop(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)  # type: ignore[call-overload,no-any-return]


def test_help_imports_no_framework() -> None:
    """That makes it quick; `make bench` says how quick."""
    probe = (
        "import sys; from flows.cli import cli; "
        "cli.main(['--help'], prog_name='visionloop', standalone_mode=False); "
        f"print([name for name in {FRAMEWORKS!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_lists_every_command_with_its_line(config: Settings) -> None:
    told = visionloop("--help").stdout
    for name, entry in COMMANDS.items():
        assert f"  {name} " in told
        assert entry.help.split()[0] in told
    assert len(COMMANDS) == sum(len(section) for section in SECTIONS.values()), "a name stands in two sections"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = importlib.import_module(module if "." in module else f"flows.cli.{module}")
    command = getattr(found, attribute)
    assert isinstance(command, click.Command)
    assert command.help, f"{name} has no help"


def test_a_misspelt_command_is_answered_with_the_one_meant(config: Settings) -> None:
    done = visionloop("stauts")
    assert done.returncode == 2
    assert "There is no command 'stauts'. Did you mean status?" in done.stderr


def test_our_errors_print_what_was_found_expected_and_how_to_fix_it(config: Settings) -> None:
    done = visionloop("status")
    assert done.returncode == MissingService.exit_code == 8
    assert done.stderr.splitlines() == [
        "the stack is not up",
        "  expected: a running supervisor",
        "  fix: `visionloop up` starts it",
    ]
    assert done.stdout == ""


def test_a_bad_setting_is_named(config: Settings) -> None:
    done = visionloop("status", env={**os.environ, "VISIONLOOP_ROUTER_PROT": "1"})
    assert done.returncode == 2
    assert "there is no setting 'router_prot'" in done.stderr
    assert "router_port" in done.stderr


def use(monkeypatch: pytest.MonkeyPatch, function: object) -> None:
    """Puts a command of our own into the table, as a module would."""
    module = type(sys)("flows.cli.probe")
    module.command = click.command("probe")(function)  # type: ignore[attr-defined,call-overload]
    monkeypatch.setitem(sys.modules, "flows.cli.probe", module)
    monkeypatch.setitem(front.COMMANDS, "probe", Entry("probe:command", "A probe."))


@pytest.mark.parametrize("error", [BadInput("bad"), MissingService("none"), VisionloopError("x")])
def test_each_error_leaves_with_its_own_code(
    error: VisionloopError, monkeypatch: pytest.MonkeyPatch, config: Settings
) -> None:
    def command() -> None:
        raise error

    use(monkeypatch, command)
    assert front.execute(["probe"]) == error.exit_code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["keys", "create", "x", "--per-minute", "-3"], 3),
        (["keys", "create", "x", "--expires", "2w"], 3),
        (["ui", "hme"], 3),
        (["demo", "no_such_model"], 4),
        (["keys", "create"], 2),
        (["status", "--jsn"], 2),
    ],
)
def test_a_value_that_cannot_be_used_is_bad_input_whoever_refuses_it(
    arguments: list[str], code: int, config: Settings
) -> None:
    assert front.execute(arguments) == code


def test_anything_unexpected_is_one_line_and_a_log_file(
    monkeypatch: pytest.MonkeyPatch, config: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise ZeroDivisionError("by zero\nand more")

    use(monkeypatch, command)
    assert front.execute(["probe"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("unexpected: ZeroDivisionError: by zero (details: ")
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1
    (log,) = (config.var / "logs" / "errors").iterdir()
    assert "visionloop probe" in log.read_text()
    assert "ZeroDivisionError: by zero" in log.read_text()


def test_interrupting_is_no_error(config: Settings) -> None:
    (config.var / "logs").mkdir(parents=True)
    (config.var / "logs" / "one.log").write_text("first\n")
    command = [sys.executable, "-c", MAIN, "logs", "one", "-f"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    with (config.var / "logs" / "one.log").open("a") as log:
        log.write("second\n")
    assert process.stdout.readline() == "second\n"  # it follows
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert (process.returncode, told.strip()) == (130, "stopped")


def test_a_reader_that_leaves_early_is_no_error(config: Settings) -> None:
    logs = config.var / "logs"
    logs.mkdir(parents=True)
    (logs / "long.log").write_text("line\n" * 40_000)
    script = f"{shlex.quote(sys.executable)} -c '{MAIN}' logs long -n 40000 | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_logs_of_all_processes_carry_their_names_and_an_unknown_one_is_refused(config: Settings) -> None:
    before = visionloop("logs", "router")
    assert before.returncode == 4
    assert "`visionloop up` starts the stack" in before.stderr
    logs = config.var / "logs"
    logs.mkdir(parents=True)
    (logs / "mlflow.log").write_text("a\nb\n")
    (logs / "router.log").write_text("c\n")
    assert visionloop("logs", "-n", "1").stdout.splitlines() == ["mlflow | b", "router | c"]
    refused = visionloop("logs", "mflow")
    assert refused.returncode == 4
    assert "expected: one of mlflow, router" in refused.stderr
    assert "did you mean 'mlflow'?" in refused.stderr
    assert "visionloop up" not in refused.stderr, "the stack is up; it is the name that is wrong"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_made_for_each_shell(shell: str, config: Settings) -> None:
    done = visionloop("completion", shell)
    assert done.returncode == 0
    assert "_VISIONLOOP_COMPLETE" in done.stdout


def test_completing_a_name_offers_commands_without_importing_them(config: Settings) -> None:
    environment = {"_VISIONLOOP_COMPLETE": "bash_complete", "COMP_WORDS": "visionloop st", "COMP_CWORD": "1"}
    done = visionloop(env={**os.environ, **environment})
    assert done.stdout.splitlines() == ["plain,status"]


def test_up_status_and_down_on_the_command_line(config: Settings) -> None:
    up = visionloop("up", "--only", "home")
    try:
        assert up.returncode == 0, up.stderr
        assert config.home_address in up.stderr
        assert "already up" in visionloop("up", "--only", "home").stderr
        (home,) = json.loads(visionloop("status", "--json").stdout)
        assert (home["name"], home["state"], home["url"]) == ("home", "ready", config.home_address)
        assert config.home_address in visionloop("status").stdout
    finally:
        down = visionloop("down")
    assert down.returncode == 0
    assert down.stderr.startswith("stopped in")
    assert visionloop("down").stderr == "the stack was not up\n"


def test_ui_prints_the_address_of_a_running_stack_only(config: Settings) -> None:
    assert visionloop("ui", "mlflow").returncode == 8
    visionloop("up", "--only", "home")
    try:
        assert visionloop("ui", "mlflow", "--model", "fruit_features").stdout.strip() == (
            f"{config.mlflow_address}/#/models/fruit_features?workflowType=machine_learning"
        )
        assert visionloop("ui", "api").stdout.strip() == f"{config.router_address}/docs"
        of_one = visionloop("ui", "api", "--model", "fruit_features")
        assert of_one.returncode == 4
        assert "fruit_features has no API page, because no version of it is live" in of_one.stderr
    finally:
        visionloop("down")


def test_mlflows_pages_are_where_we_say() -> None:
    """Its addresses are of its own router, in the script that it serves: nothing else would notice a change."""
    folder = Path(str(importlib.util.find_spec("mlflow").origin)).parent / "server" / "js" / "build" / "static" / "js"  # type: ignore[union-attr]
    scripts = "".join(path.read_text(errors="replace") for path in folder.glob("*.js"))
    for part in ('"/models"', '"/models/:modelName"', '"/models/:modelName/versions/:version"', '"workflowType"'):
        assert part in scripts, part
    assert '"machine_learning"' in scripts


def test_models_are_listed_without_a_stack(config: Settings) -> None:
    done = visionloop("models")
    assert done.returncode == 0
    assert "skin_segmentation" in done.stdout
    assert "not served now" in done.stdout


def test_there_is_nothing_to_measure_yet(tmp_path: Path) -> None:
    env = {**os.environ, "VISIONLOOP_ROOT": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "tests.benchmarks.models", "fruit_features"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0, "nothing to measure yet: `make demo MODEL=fruit_features` makes a version of it\n",
    )  # fmt: skip


def test_a_rollback_loads_no_step_of_the_loop() -> None:
    """MLflow's registry, data sets and training behind them would delay the traffic."""
    code = (
        "import flows.cli.release, flows.releases.changes, sys; "
        "print(sorted(m for m in sys.modules if m.startswith('flows.steps')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"
