"""`python -m tests.benchmarks.web`: the numbers of the web application, as a table.

It starts a stack of its own in a scratch folder and leaves nothing behind. It takes about 12 minutes; `--seconds 10
--people 5 --rounds 2 --megabytes 20` shows in about two that it works. Figures are medians, quartiles in brackets.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from registry.core.errors import VisionloopError
from tests.benchmarks import web_load, web_pages, web_video
from tests.benchmarks.load import ended_in_order
from tests.benchmarks.web_load import LoadFigures
from tests.benchmarks.web_pages import PageFigures
from tests.benchmarks.web_site import running_site
from tests.benchmarks.web_video import VideoFigures

WIDE = 180
GROWTH_MB = 50
"""Constant memory: a tenth of the video. Buffers of the kernel's size, segments of 1 MiB and threads come and go."""


@dataclass(frozen=True)
class Row:
    """A line of the table. `met`: whether the goal is reached; None: there is none."""

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of people on the pages, without a pause")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--think", type=float, default=7.0, help="mean seconds between the pages of one person")
    parser.add_argument("--rounds", type=int, default=15, help="looks at each page")
    parser.add_argument("--uploads", type=int, default=5, help="of the video")
    parser.add_argument("--megabytes", type=int, default=500, help="of the video")
    options = parser.parse_args()
    ended_in_order()
    console = Console(stderr=True)
    busy = [_load()]
    try:
        with tempfile.TemporaryDirectory(prefix="visionloop-bench-") as folder:
            rows = _measured(Path(folder), options, console)
    except VisionloopError as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return error.exit_code
    busy.append(_load())
    rows.append(Row("load average of the machine: before, after", ", ".join(busy)))
    (Console() if sys.stdout.isatty() else Console(width=WIDE)).print(_table(rows))
    return sum(row.met is False for row in rows)


def _measured(root: Path, options: argparse.Namespace, console: Console) -> list[Row]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=2) as progress:

        def begun(what: str, total: float) -> Callable[..., None]:
            console.print(f"{what} (load average {_load()})", highlight=False)
            bar = progress.add_task(what, total=total)
            return lambda now, done=1.0: progress.update(bar, advance=done, description=now)

        def ended(found: list[Row]) -> list[Row]:
            for row in found:  # an interrupted run has measured something, too
                console.print(f"  {row.what}: {row.measured}", highlight=False, markup=False, soft_wrap=True)
            return found

        begun("the stack starts", 1)
        with running_site(root, options.people) as site:
            advance = begun("pages", 2 * options.rounds)
            rows = ended(page_rows(web_pages.measure(site, options.rounds, advance)))
            advance = begun(f"a video of {options.megabytes} MB", 3 * options.uploads)
            rows += ended(video_rows(web_video.measure(site, options.megabytes, options.uploads, advance)))
            advance = begun(f"{options.people} people", web_load.total_s(options.seconds, options.think))
            figures = web_load.measure(site, options.seconds, options.think, advance)
            return rows + ended(load_rows(figures, options.people))


def page_rows(figures: dict[str, PageFigures]) -> list[Row]:
    first, result = figures["first page"], figures["result page"]
    return [
        Row("first page: server ms over HTTP", *_goal(first.http_ms, 200)),
        Row("first page in the browser, nothing cached: HTML ms", *_goal(first.server_ms, 200)),
        Row("... first contents, ms", *_goal(first.paint_ms, 200)),
        Row("... all loaded, ms", spread(first.load_ms)),
        Row("... kB", *_goal(first.kb, 300)),
        Row("result page, its prediction done: server ms over HTTP", *_goal(result.http_ms, 150)),
        Row("result page in the browser, nothing cached: HTML ms", *_goal(result.server_ms, 150)),
        Row(
            "... first contents, all loaded, ms; kB",
            "; ".join(map(spread, (result.paint_ms, result.load_ms, result.kb))),
        ),
    ]


def video_rows(figures: VideoFigures) -> list[Row]:
    rows = []
    for name, memory in figures.memory.items():
        grown = statistics.median(memory.growth)
        states = ", ".join(map(spread, (memory.before, memory.highest, memory.after)))
        rows.append(
            Row(
                f"memory of {name}, MB: before, highest, after",
                states,
                f"grows by <= {GROWTH_MB} MB",
                grown <= GROWTH_MB,
            )
        )
    rows.append(Row("upload, s", spread(figures.upload_s, ".2f")))
    both = f"{spread(figures.plain_s, '.2f')}, {spread(figures.encrypted_s, '.2f')}"
    rows.append(Row("the same bytes to the disk, s: in the clear, encrypted", both))
    shares = [100 * share for share in figures.encryption]
    return [*rows, Row("share of encryption in the upload, %", *_goal(shares, 10, ".1f"))]


def load_rows(figures: LoadFigures, people: int) -> list[Row]:
    met = figures.people
    errors = sum(met.errors.values())
    rows = [
        Row(f"{people} people for {figures.seconds:g} s: requests, results; results a second without a pause",
            f"{met.requests}, {met.results}; {figures.per_s:.2f}"),
        Row("... errors", f"{errors} {dict(met.errors.most_common(5)) or ''}", "0", errors == 0),
        Row("... from an upload's end to its result on the page, ms", spread(met.waits_ms)),
    ]  # fmt: skip
    rows += [Row(f"... {what}, ms", spread(times)) for what, times in sorted(met.times.items())]
    refused = sum(figures.refusals.values())
    rows.append(
        Row("API calls that were not answered with 200", f"{refused} {dict(figures.refusals) or ''}", "0", refused == 0)
    )
    rows.append(
        Row(
            f"API caller at {web_load.CALLS_PER_S:g} a second beside people without a pause, ms",
            spread(figures.caller_ms, ".1f"),
        )
    )
    pair = f"{spread(figures.with_plain, '.1f')}, {spread(figures.with_people, '.1f')}"
    rows.append(Row(f"its p50, ms, {len(figures.growth)} pairs: beside plain calls, beside people", pair))
    return [*rows, Row("beside people / beside plain calls", *_goal(figures.growth, 1.15, ".2f"))]


def _goal(values: Sequence[float], most: float, form: str = ".0f") -> tuple[str, str, bool]:
    return spread(values, form), f"<= {most:g}", statistics.median(values) <= most


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def spread(values: Sequence[float], form: str = ".0f") -> str:
    """ "55 (50 to 61)": the median and the quartiles."""
    if len(values) < 2:
        return f"{values[0]:{form}}" if values else "none"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _table(rows: list[Row]) -> Table:
    """As Markdown, for docs/benchmarks.md."""
    made = Table("what", "measured", "goal", "", box=box.MARKDOWN)
    for row in rows:
        made.add_row(row.what, row.measured, row.goal, {None: "", True: "met", False: "missed"}[row.met])
    return made


if __name__ == "__main__":
    sys.exit(main())
