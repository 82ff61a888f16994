"""Long measurements through the router of a running stack (`visionloop up`) with released versions.

    python -m tests.benchmarks.endurance load MODEL --minutes 10
        80 % of the capacity, with a switch, a rollback and a kill -9
    python -m tests.benchmarks.endurance canary MODEL --minutes 5
        the same, while a canary goes through its steps
    python -m tests.benchmarks.endurance log MODEL --count 100000
        no prediction is lost or doubled, with a kill -9 and a locked database

`load` switches to a second version; without one it leaves that part out, and says so. `canary` needs a second version.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from flows.stack import ports
from registry.core import database
from registry.core.errors import MissingService, NotFound, VisionloopError
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Versions
from serving.releases import store
from tests.benchmarks.load import SETTLE_S, CountingCaller, Tally, closed_loop, open_loop

CLIENTS = 8
PROBE_S = 20.0
LOCKED_S = 60.0
SHIPPED_S = 120.0
LOOK_S, LOOK_AGAIN_S, WARM = 5.0, 30.0, 12
"""Seconds between two measurements of memory, and between two searches for new processes; measurements until warm."""
SLOW = 10
"""A call is slow that takes this many times the median."""
GROWTH = 1.05
"""Most growth of memory from the first to the last third of a run. Less is the allocator's share, not a leak."""


async def load(model: str, minutes: float, share: float, canary: bool = False) -> int:
    """The first two measurements; prints Markdown, returns the number of goals missed."""
    body = sample_input(model)
    probe = Tally()
    caller = CountingCaller(model, body, probe)
    end = time.perf_counter() + PROBE_S
    await closed_loop(caller, CLIENTS, lambda: time.perf_counter() < end)
    await caller.close()
    capacity = len(probe.ids) / PROBE_S
    rate, seconds = share * capacity, 60 * minutes
    print(f"capacity with {CLIENTS} clients: {capacity:.0f} /s; {rate:.0f} /s for {minutes:g} minutes", flush=True)

    tally, look, memory = Tally(), _Memory(model), list[dict[str, float]]()
    caller = CountingCaller(model, body, tally)
    events = (_steps if canary else _events)(model, seconds)
    done = list[tuple[float, str]]()

    async def happen() -> None:
        for at, what, act in events:
            await asyncio.sleep(max(0.0, tally.began + at - time.perf_counter()))
            moment = time.perf_counter() - tally.began
            said = await asyncio.to_thread(act)
            done.append((moment, f"{what}: {said}"))
            print(f"{moment:5.0f} s  {what}: {said}", file=sys.stderr, flush=True)

    async def watch() -> None:
        while True:
            memory.append(await asyncio.to_thread(look))
            await asyncio.sleep(LOOK_S)

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(open_loop(caller, rate, seconds), happen())
    watching.cancel()
    await caller.close()
    return report(tally, done, memory)


ANYWAY = ("--anyway", "an endurance run")
"""The gate may not have granted the other version; nobody's calls are answered."""


def _events(model: str, seconds: float) -> list[tuple[float, str, Callable[[], str]]]:
    other = _other(model)
    found: list[tuple[float, str, Callable[[], str]]] = []
    if other is None:
        print("there is no second version: no switch and no rollback", file=sys.stderr)
    else:
        found += [
            (
                0.3 * seconds,
                f"switch to version {other}",
                lambda: _visionloop("release", model, "blue-green", str(other), *ANYWAY),
            ),
            (0.5 * seconds, "rollback", lambda: _visionloop("release", model, "rollback")),
        ]
    return [*found, (0.7 * seconds, "kill -9 of the service", lambda: kill_service(model))]


def _steps(model: str, seconds: float) -> list[tuple[float, str, Callable[[], str]]]:
    """A canary that is through its steps in two thirds of the time, if no guardrail breaks."""
    other = _other(model)
    if other is None:
        raise NotFound(f"{model} has no second version", fix=f"`visionloop train {model}` makes one")
    limits = ("--limit", f"min_seconds={seconds / 6:.0f}", "--limit", "min_calls=100")
    begin = ("release", model, "canary", str(other), "--share", "10", "--steps", "10,50,100", *limits, *ANYWAY)

    def outcome() -> str:
        plan = store.plan(model)
        assert plan is not None
        return f"{plan.state}, live {plan.live}: {plan.why}"

    return [
        (0.1 * seconds, f"canary of version {other}", lambda: _visionloop(*begin)),
        (0.95 * seconds, "what became of it", outcome),
    ]


def _other(model: str) -> int | None:
    """A version that is not the champion."""
    plan = store.plan(model)
    if plan is None:
        raise NotFound(f"{model} has no release", fix=f"`visionloop run {model}` makes one")
    return next((v.number for v in Versions().list(model) if v.number != plan.live), None)


def _visionloop(*argv: str) -> str:
    began = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", *argv]
    done = subprocess.run(command, cwd=settings().root, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip()[-200:]}"
    return f"done in {time.perf_counter() - began:.1f} s"


def kill_service(model: str) -> str:
    live = store.live(model)
    if live is None:
        return "there is no live version"
    process = ports.listener(urlsplit(live.url).port or 0)
    if process is None:
        return f"nobody listens at {live.url}"
    os.kill(process, signal.SIGKILL)
    return f"process {process}, version {live.version}"


class _Memory:
    """Resident memory of the router and of each of the model's services, by process.

    It looks for new ones now and then only: going through all processes holds up the callers in this one, and they are
    what is measured.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._known: dict[str, psutil.Process] = {}
        self._looked = 0.0

    def __call__(self) -> dict[str, float]:
        if time.monotonic() - self._looked > LOOK_AGAIN_S:
            self._known = {
                name: process for process in psutil.process_iter(["cmdline"]) if (name := self._name(process))
            }
            self._looked = time.monotonic()
        found = {}
        for name, process in self._known.items():
            with suppress(psutil.Error):
                found[name] = process.memory_info().rss / 1e6
        return found

    def _name(self, process: psutil.Process) -> str:
        line = " ".join(process.info["cmdline"] or ())
        what = (
            "router"
            if "serving.launchers.router" in line
            else f"/{self._model}/" in line and "/src/serve.py" in line and "service"
        )
        return f"{what}, process {process.pid}" if what else ""


def report(tally: Tally, done: list[tuple[float, str]], memory: Sequence[Mapping[str, float]]) -> int:
    moments = [moment for moment, _ in done]
    every, quiet = tally.latencies(), tally.latencies(moments)
    failed = sum(tally.refusals.values())
    print("\n| what | measured | goal |\n|---|---|---|")
    print(f"| requests; answered by version | {len(tally.times)}; {dict(tally.versions)} | |")
    print(f"| not answered with 200 | {failed} {dict(tally.refusals) or ''} | 0, but those in the killed process |")
    missed = int(failed > 0)
    for name, times in (("all", every), ("outside the events", quiet)):
        if not times:
            continue
        p50, p99 = statistics.median(times), times[int(0.99 * len(times))]
        print(f"| p50, p99, longest, {name} | {p50:.1f} ms, {p99:.1f} ms, {times[-1]:.0f} ms | |")
        print(f"| p99 / p50, {name} | {p99 / p50:.2f} | <= 3 |")
        missed += p99 / p50 > 3
    for process in dict.fromkeys(itertools.chain.from_iterable(memory)):
        settled = [now[process] for now in memory if process in now][WARM:]
        if len(settled) < WARM:
            continue
        third = max(1, len(settled) // 3)
        first, last = statistics.median(settled[:third]), statistics.median(settled[-third:])
        print(f"| memory of {process}, first and last third | {first:.0f} MB, {last:.0f} MB | no growth |")
        missed += last > GROWTH * first
    for moment, text in done:
        near = [t for t in tally.times if moment - 1 <= t[0] <= moment + SETTLE_S]
        bad = sum(1 for t in near if t[2] != 200)
        longest = max((ms for _, ms, _ in near), default=0)
        print(f"| at {moment:.0f} s {text} | {bad} of {len(near)} failed, longest {longest:.0f} ms | |")
    for begin, end, slow, longest in slow_spells(tally.times):
        print(f"| slow calls from {begin:.1f} to {end:.1f} s | {slow}, longest {longest:.0f} ms | |")
    return missed


def slow_spells(times: Sequence[tuple[float, float, int]]) -> list[tuple[float, float, int, float]]:
    """When the slow calls happen: those of more than ten times the median, together where less than 2 s lie between.

    Args:
        times: of each call the second it began, its milliseconds and its status.

    Returns:
        Begin and end in seconds, number of slow calls and the longest one's milliseconds; the eight longest, in order
        of time.
    """
    limit = SLOW * statistics.median([ms for _, ms, _ in times]) if times else 0.0
    found: list[tuple[float, float, int, float]] = []
    for at, ms, _ in sorted(call for call in times if call[1] > limit):
        if found and at - found[-1][1] < 2:
            begin, _, slow, longest = found[-1]
            found[-1] = (begin, at, slow + 1, max(longest, ms))
        else:
            found.append((at, at, 1, ms))
    return sorted(sorted(found, key=lambda spell: -spell[3])[:8])


async def log(model: str, count: int) -> int:
    """The second measurement; prints Markdown, returns how many predictions are lost or doubled."""
    database.setup()
    from monitoring.log.models import Prediction

    before = Prediction.objects.count()
    tally = Tally()
    caller = CountingCaller(model, sample_input(model), tally)
    begun = itertools.count()
    done = list[str]()

    async def trouble() -> None:
        while len(tally.times) < count // 3:
            await asyncio.sleep(0.5)
        done.append(f"kill -9 after {len(tally.times)}: {kill_service(model)}")
        while len(tally.times) < count * 2 // 3:
            await asyncio.sleep(0.5)
        done.append(f"database locked for {LOCKED_S:.0f} s after {len(tally.times)}")
        await asyncio.to_thread(_lock_database)

    began = time.perf_counter()
    await asyncio.gather(closed_loop(caller, CLIENTS, lambda: next(begun) < count), trouble())
    await caller.close()
    took = time.perf_counter() - began
    lost, ids = set(tally.ids), set(tally.ids)
    end = time.monotonic() + SHIPPED_S
    while lost and time.monotonic() < end:
        known = set(Prediction.objects.filter(model=model).values_list("id", flat=True).iterator())
        lost = ids - known
        await asyncio.sleep(1)
    rows = Prediction.objects.count() - before
    print(f"\n{'; '.join(done)}.\n\n| what | measured | goal |\n|---|---|---|")
    print(f"| predictions asked, {CLIENTS} clients | {len(tally.times)} in {took:.0f} s | |")
    print(f"| not answered with 200 | {sum(tally.refusals.values())} {dict(tally.refusals) or ''} | |")
    print(f"| answered, different ids | {len(tally.ids)}, {len(ids)} | the same |")
    print(f"| answered and not in the log | {len(lost)} | 0 |")
    print(f"| rows in the log beyond the answers (began, but never answered) | {rows - len(ids)} | |")
    return len(lost) + len(tally.ids) - len(ids)


def _lock_database() -> None:
    """Nobody can write into it meanwhile; SQLite only."""
    import sqlite3

    entry = database.database_entry(settings().database)
    if not entry["ENGINE"].endswith("sqlite3"):
        raise MissingService("the database is not SQLite", fix="stop and start it by hand while this runs")
    with sqlite3.connect(entry["NAME"], timeout=30, isolation_level=None) as line:
        line.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_S)
        line.execute("ROLLBACK")


def sample_input(model: str) -> bytes:
    versions = Versions()
    bundle: Bundle = versions.fetch(versions.get(model))
    return (bundle.samples[0] / "input").read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "canary", "log"))
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity")
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    settings().apply_environment()
    try:
        if options.what == "log":
            return asyncio.run(log(options.model, options.count))
        return asyncio.run(load(options.model, options.minutes, options.share, options.what == "canary"))
    except VisionloopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
