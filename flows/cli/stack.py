"""`visionloop up`, `down`, `status` and `logs`: the local stack."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.metrics import prometheus
from flows.metrics.targets import PROMETHEUS
from flows.options import complete
from flows.process import SETTLED, ProcessStatus
from flows.stack import layout
from flows.stack.control import Stack, refuse_failed
from flows.stack.first_login import first_login
from flows.stack.logs import appended, tail
from registry.core.errors import NotFound, VisionloopError, did_you_mean
from registry.core.settings import settings

_COLOURS = {
    "ready": "green",
    "done": "green",
    "external": "green",
    "failed": "red",
    "unhealthy": "red",
    "blocked": "red",
}


@click.command()
@click.option("--no-wait", is_flag=True, help="Return once the story page answers.")
@click.option(
    "--only", multiple=True, metavar="NAME", help="Start only this process beside the story page. Repeatable."
)
@click.option("--with-metrics", is_flag=True, help="Start Prometheus, too, where it is installed.")
def up(no_wait: bool, only: tuple[str, ...], with_metrics: bool) -> None:
    """Start the local stack and wait until all of it is ready.

    Starts MLflow, Prefect, the flow worker, the router, and the services of the release plans. The story page answers
    within seconds and shows the others starting. A second `up` shows what runs. `visionloop down` stops all.
    """
    screen, stack = Console(stderr=True), Stack()
    if stack.up(only):
        screen.print(f"story page: [link]{stack.config.home_address}[/link]", highlight=False)
    else:
        screen.print("the stack is already up")
        for name in stack.restart_failed():
            screen.print(f"starting {name} again")
    statuses = stack.status() if no_wait else _wait(stack, screen)
    if with_metrics:
        statuses = _with_prometheus(stack, screen)
    screen.print(_addresses(statuses), end="")
    if any(one.name == layout.WEB for one in statuses):
        _tell_web_address(screen)
    if not only:
        _tell_older_services(screen)
    refuse_failed(statuses)


def _with_prometheus(stack: Stack, screen: Console) -> list[ProcessStatus]:
    """Starts Prometheus unless it runs. Where it is not installed, says how to install it; the stack is up without."""
    try:
        if not any(one.name == PROMETHEUS and one.ready for one in stack.status()):
            stack.start_spec(prometheus.prepare(stack.config))
    except VisionloopError as error:
        screen.print(f"without metrics: {error}", highlight=False, markup=False, soft_wrap=True)
    return stack.status()


def _tell_older_services(screen: Console) -> None:
    from registry.core import database
    from serving.releases import older

    database.setup()
    for one in older.find():
        text = f"version {one.version} of {one.model} was packaged from other code than this, so it may not know what"
        screen.print(f"{text} pages ask;\n  `{one.command}` packages it anew, and drops no request", soft_wrap=True)


def _tell_web_address(screen: Console) -> None:
    screen.print(f"the web application: [bold]{settings().web_address}[/]", highlight=False)
    if login := first_login():
        screen.print(f"  {login}", highlight=False, markup=False, soft_wrap=True)


def _wait(stack: Stack, screen: Console) -> list[ProcessStatus]:
    """Shows a live table on a terminal, and lines elsewhere, until every process is ready or given up."""
    if screen.is_terminal:
        with Live(console=screen, refresh_per_second=8, transient=True) as live:
            return stack.wait(lambda statuses: live.update(table(statuses)))
    shown: dict[str, str] = {}

    def print_changes(statuses: Sequence[ProcessStatus]) -> None:
        for status in statuses:
            if shown.get(status.name) != status.state and status.state in SETTLED:
                screen.print(f"{status.name}: {status.state} {status.note}".rstrip(), highlight=False)
            shown[status.name] = status.state

    return stack.wait(print_changes)


@click.command()
def down() -> None:
    """Stop everything that `up` started, and what an earlier crash left behind."""
    stack = Stack()
    was_up = stack.running()
    began = time.monotonic()
    swept = stack.down()
    if was_up:
        left = f"; ended {swept} leftover processes" if swept else ""
        click.echo(f"stopped in {time.monotonic() - began:.1f} s{left}", err=True)
    elif swept:
        click.echo(f"the stack was not up; ended {swept} processes of an earlier one", err=True)
    else:
        click.echo("the stack was not up", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show what runs, where, since when and with how much memory. Exit code 8: the stack is not up."""
    statuses = [_asked(one) if one.state == "external" else one for one in Stack().status()]
    if as_json:
        click.echo(json.dumps([one.to_json() for one in statuses], indent=2))
        return
    console, found = Console(), table(statuses)
    wide = console.measure(found, options=console.options.update(max_width=1000)).maximum
    console.width = max(console.width, wide)  # a terminal wraps lines; an ellipsis would hide addresses
    console.print(found, end="")


def _asked(elsewhere: ProcessStatus) -> ProcessStatus:
    """Of a process that the supervisor does not look after, whether its address answers."""
    import httpx

    try:
        httpx.get(elsewhere.url, timeout=2, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return replace(elsewhere, note="does not answer")
    return elsewhere


def _logs() -> dict[str, Path]:
    """Name -> file, sorted."""
    return {file.stem: file for file in sorted((settings().var / "logs").glob("*.log"))}


@click.command()
@click.argument("name", required=False, shell_complete=complete(lambda: dict.fromkeys(_logs(), "")))
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they come.")
@click.option("-n", "--lines", default=40, show_default=True, help="How many lines to begin with.")
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Read the log of one process, or of all.

    Works without a running stack, too: logs stay in var/logs.
    """
    known = _logs()
    if not known:
        raise NotFound(
            f"there are no logs in {settings().var / 'logs'} yet",
            expected="the logs of a stack that was started",
            fix="`visionloop up` starts the stack, which writes them",
        )
    files = [file for stem, file in known.items() if fnmatch(stem, name or "*")]
    if not files:
        raise NotFound(
            f"there is no log of {name!r}",
            expected=f"one of {', '.join(known)}",
            fix=did_you_mean(str(name), known, "choose one of these, or leave the name out for all"),
        )
    width = max(map(len, known))
    label = {file: f"{file.stem:<{width}} | " if len(files) > 1 else "" for file in files}
    offsets = {file: file.stat().st_size for file in files}
    for file in files:
        for line in tail(file, lines):
            click.echo(label[file] + line)
    while follow:
        for file in files:
            for line in appended(file, offsets):
                click.echo(label[file] + line)
        time.sleep(0.3)


def table(statuses: Sequence[ProcessStatus]) -> Table:
    """The processes, for a terminal."""
    found = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("process", "left"), ("state", "left"), ("address", "left"), ("up", "right"),
                          ("restarts", "right"), ("memory", "right"), ("", "left")):  # fmt: skip
        found.add_column(name, justify=justify, no_wrap=name != "")  # type: ignore[arg-type]
    total = 0.0
    for one in statuses:
        total += one.memory_mb
        state = Text(one.state, style=_COLOURS.get(one.state, "yellow"))
        age = _age(time.time() - one.since) if one.since and one.state == "ready" else ""
        memory = f"{one.memory_mb:.0f} MB" if one.memory_mb else ""
        found.add_row(one.name, state, one.url, age, str(one.restarts or ""), memory, one.note)
    found.add_row("", "", "", "", "", Text(f"{total:.0f} MB", style="dim"), "")
    return found


def _addresses(statuses: Sequence[ProcessStatus]) -> Table:
    found = Table(box=None, pad_edge=False, show_header=False)
    for one in statuses:
        if one.url:
            found.add_row(one.name, one.url)
    return found


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
