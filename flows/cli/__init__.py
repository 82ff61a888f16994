"""The command line's front door. Commands are loaded by name, so that `--help` imports none of them.

Every error leaves through `main`. Ours print what was found, what was expected and how to fix it, and have their own
exit codes. Any other error prints one line, and writes its traceback to a log file.

Imports every room of this package; nothing imports it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from registry.core.errors import BadInput, VisionloopError
from registry.core.priority import lower_priority


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet.

    Attributes:
        target: "module:attribute"; a module without a package is one of flows.cli.
        help: its line in `--help`.
    """

    target: str
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "The loop": {
        "demo": Entry("loop:demo", "The whole loop on starter data: train, serve, break, notice, retrain."),
        "run": Entry("loop:run", "The loop for one model: data, checks, train, decide, release."),
        "data": Entry("data:data", "Make, import, check and show data sets."),
        "train": Entry("model:train", "Train, compress and evaluate a model, and register the version."),
        "promote": Entry("model:promote", "Ask the gate to make a version the champion. Moves no traffic."),
        "decisions": Entry("model:decisions", "List the decision pages: what was promoted or refused, and why."),
        "retrain": Entry("loop:retrain", "Fine-tune the champion on labelled predictions."),
    },
    "Serving": {
        "package": Entry("model:package", "Build the Bento of a version."),
        "release": Entry("release:release", "Give versions their traffic: switch, canary, shadow, A/B, status."),
        "rollback": Entry("release:rollback", "Give the traffic back to the previous version."),
        "predict": Entry("predict:predict", "Run a file through a version or through the service."),
        "keys": Entry("flows.access.keys:keys", "API keys: create, list, show, revoke; usage by key, model and day."),
        "users": Entry("flows.access.users:users", "Accounts of the web application: create, list, roles, disable."),
        "reproduce": Entry("reproduce:reproduce", "Show what made a served result, run it again and compare."),
        "featurize": Entry("features:featurize", "Write features of a folder or bucket of pictures as Parquet."),
        "predict-batch": Entry("features:predict_batch", "Write predictions of many files as Parquet."),
    },
    "Watching": {
        "monitor": Entry("watch:monitor", "Judge recent predictions against the reference."),
        "break": Entry("watch:break_", "Play a stream of shifted inputs against the service."),
    },
    "The stack": {
        "up": Entry("stack:up", "Start the local stack: tracking, flows, router, services, story page."),
        "down": Entry("stack:down", "Stop everything that `up` started."),
        "status": Entry("stack:status", "Show what runs, where and since when."),
        "logs": Entry("stack:logs", "Read the log of one process, or of all."),
        "deploy": Entry("flows.deploy.command:deploy", "Show what a deployment to AWS would build and change."),
        "encryption": Entry("flows.access.encryption:encryption", "Keys that encrypt what is kept: status, rotate."),
        "ui": Entry("ui:ui", "Open a page: home, mlflow, prefect, drift or api."),
    },
    "The installation": {
        "backup": Entry("installation:backup", "Copy the whole installation to a tar or a folder."),
        "restore": Entry("installation:restore", "Make this installation what a backup holds."),
        "migrate-db": Entry("installation:migrate_db", "Copy the operational database to PostgreSQL, or back."),
    },
    "About": {
        "models": Entry("ui:models", "The models, and which version of each is live; `models new` writes another."),
        "version": Entry("ui:version", "Print this program's version."),
        "completion": Entry("ui:completion", "Print the completion script for bash, zsh or fish."),
    },
}
COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


LOW_PRIORITY = frozenset(
    {"run", "data", "train", "promote", "package", "release", "featurize", "predict-batch", "retrain"}
)
"""Commands that run at low priority, so that services go on answering meanwhile."""


class LazyGroup(click.Group):
    """Imports a command when it runs. `--help` needs only the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if ctx.resilient_parsing and not _completes_inside(cmd_name):
            return click.Command(cmd_name, help=entry.help)  # completing names: the module is not needed
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module if "." in module else f"flows.cli.{module}"), attribute)
        assert isinstance(command, click.Command), f"{entry.target} must be a click command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            close = difflib.get_close_matches(name, COMMANDS, n=2, cutoff=0.55)
            hint = f" Did you mean {' or '.join(close)}?" if close else " `visionloop --help` lists them."
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


def _completes_inside(name: str) -> bool:
    """Whether the shell completes what follows the command `name`, and not the name itself."""
    return name in os.environ.get("COMP_WORDS", "").split()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def cli() -> None:
    """Keeps computer-vision models in a loop: data, training, gated release, monitoring, retraining.

    New here? `visionloop demo` shows everything on starter data; `visionloop up` only starts the stack.
    """


def main() -> NoReturn:
    """The console script. Exits with a code of registry.core.errors."""
    arguments = sys.argv[1:]
    if LOW_PRIORITY.intersection(arguments[:1]) and "rollback" not in arguments:
        lower_priority()
    sys.exit(execute(arguments))


def execute(arguments: list[str]) -> int:
    """Runs one command and returns its exit code. Raises nothing: every error is printed."""
    try:
        if "_VISIONLOOP_COMPLETE" in os.environ:  # the shell asks what may follow
            cli.main(args=arguments, prog_name="visionloop")
        with cli.make_context("visionloop", arguments) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return _exit_code(error)
    except VisionloopError as error:
        _print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has left, which is not an error. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _unexpected(error, arguments)


def _exit_code(error: click.ClickException) -> int:
    """A value that click refuses has the exit code of BadInput. Missing and unknown options keep click's 2."""
    refused = isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
    return BadInput.exit_code if refused else error.exit_code


def _print_error(error: VisionloopError) -> None:
    click.secho(error.found, fg="red", err=True)
    if error.expected:
        click.echo(f"  expected: {error.expected}", err=True)
    if error.fix:
        click.echo(f"  fix: {error.fix}", err=True)


def _unexpected(error: Exception, arguments: list[str]) -> int:
    """Prints one line, and writes the traceback to a file for whoever fixes it."""
    first = (str(error).strip().splitlines() or [""])[0]
    line = f"unexpected: {type(error).__name__}: {first}"
    try:
        from registry.core.settings import settings

        folder = settings().var / "logs" / "errors"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        log.write_text(f"visionloop {' '.join(arguments)}\n\n{traceback.format_exc()}", encoding="utf-8")
        line += f" (details: {_short(log)})"
    except Exception:  # settings or disk may be broken: then the terminal gets the traceback
        click.echo(traceback.format_exc(), err=True)
    click.secho(line, fg="red", err=True)
    return 1


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


__all__ = ["COMMANDS", "cli", "main"]
