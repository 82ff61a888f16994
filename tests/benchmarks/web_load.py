"""People on the pages beside an API caller: whether a page fails, and how much slower its predictions get."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from registry.core.errors import MissingService
from registry.core.priority import lower_priority
from registry.core.settings import Settings
from tests.benchmarks.load import CountingCaller, Tally, open_loop
from tests.benchmarks.web_people import Crowd, PeopleTally, crowd
from tests.benchmarks.web_site import MODEL, Site

CALLS_PER_S = 20.0
STRETCH_S = 10.0

OnProgress = Callable[[str, float], None]
"""Gets what is measured, and the seconds of it since the last call."""


@dataclass
class LoadFigures:
    """What was measured. Times in milliseconds.

    Attributes:
        people: what people met while all was measured.
        seconds: of the stretch without a pause.
        per_s: results of people in a second of it.
        caller_ms: the API caller's times in it.
        with_people, with_plain: its p50 in each of the short stretches, pair by pair.
        refusals: API calls that were not answered with 200.
    """

    people: PeopleTally
    seconds: float = 0.0
    per_s: float = 0.0
    caller_ms: list[float] = field(default_factory=list)
    with_people: list[float] = field(default_factory=list)
    with_plain: list[float] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def growth(self) -> list[float]:
        """Of each pair, the p50 beside people over that beside plain calls."""
        return [people / plain for people, plain in zip(self.with_people, self.with_plain, strict=True)]


def steady_calls(config: Settings, body: bytes, per_s: float, seconds: float) -> tuple[list[float], Counter[str]]:
    """The milliseconds of calls at a steady rate, and what was not answered with 200. Raises MissingService where
    nothing was. The settings are given: a fresh process that imports tests/conftest.py forgets those of its parent."""
    return asyncio.run(_steady_calls(config, body, per_s, seconds))


async def _steady_calls(
    config: Settings, body: bytes, per_s: float, seconds: float
) -> tuple[list[float], Counter[str]]:
    caller = CountingCaller(MODEL, body, Tally(), config)
    try:
        await open_loop(caller, per_s, seconds)
    finally:
        await caller.close()
    if not caller.tally.latencies():
        raise MissingService(f"no call of {MODEL} was answered with 200: {dict(caller.tally.refusals)}")
    return caller.tally.latencies(), caller.tally.refusals


def measure(site: Site, seconds: float, think_s: float, progress: OnProgress) -> LoadFigures:
    """All people for `seconds` without a pause, then in short stretches by turns with plain API calls, as many a second
    as people made predictions. An API caller asks all the time.

    Lowers the priority of this process, which plays people and plain callers: in truth they have machines of their own.
    The API caller, whose time is measured, has a process and a session of its own, which keep theirs.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), os.setsid) as caller:
        caller.submit(
            steady_calls, site.config, site.picture, CALLS_PER_S, 0.5
        ).result()  # warm, and before the priority changes
        lower_priority()
        return asyncio.run(_Load(site, caller, think_s, progress).measure(seconds))


def pairs(seconds: float) -> int:
    """How many pairs of short stretches follow the long one."""
    return max(2, round(seconds / 3 / STRETCH_S))


def total_s(seconds: float, think_s: float) -> float:
    """How long `measure` takes."""
    return warm_s(seconds, think_s) + seconds + 2 * pairs(seconds) * stretch_s(seconds)


def stretch_s(seconds: float) -> float:
    return min(STRETCH_S, seconds / 2)


def warm_s(seconds: float, think_s: float) -> float:
    """At first all people load what browsers keep."""
    return min(2 * think_s, seconds / 4)


class _Load:
    def __init__(self, site: Site, caller: ProcessPoolExecutor, think_s: float, progress: OnProgress) -> None:
        self._site, self._caller, self._think_s, self._progress = site, caller, think_s, progress

    async def measure(self, seconds: float) -> LoadFigures:
        sessions = [one.session for one in self._site.people]
        people = crowd(self._site.address, sessions, MODEL, self._site.picture, self._think_s)
        self._figures = LoadFigures(people.tally)
        people.begin()
        try:
            await self._without_pause(people, seconds)
            for number in range(pairs(seconds)):
                for turn in (self._beside_people, self._beside_plain)[:: 1 if number % 2 else -1]:
                    await turn(people, stretch_s(seconds))
        finally:
            await people.end()
        return self._figures

    async def _without_pause(self, people: Crowd, seconds: float) -> None:
        people.clock.run()
        await self._called(warm_s(seconds, self._think_s), "people come in")
        before = people.tally.results
        self._figures.caller_ms = await self._called(seconds, "people without a pause")
        self._figures.seconds = seconds
        self._figures.per_s = (people.tally.results - before) / seconds
        await people.rest()

    async def _beside_people(self, people: Crowd, seconds: float) -> None:
        people.clock.run()
        times = await self._called(seconds, "API caller beside people")
        await people.rest()
        self._figures.with_people.append(statistics.median(times))

    async def _beside_plain(self, _: Crowd, seconds: float) -> None:
        other = asyncio.create_task(
            _steady_calls(self._site.config, self._site.picture, max(self._figures.per_s, 0.1), seconds)
        )
        times = await self._called(seconds, "API caller beside plain calls")
        self._figures.refusals += (await other)[1]
        self._figures.with_plain.append(statistics.median(times))

    async def _called(self, seconds: float, what: str) -> list[float]:
        """The API caller's milliseconds."""
        loop = asyncio.get_running_loop()
        calls: Awaitable[tuple[list[float], Counter[str]]] = loop.run_in_executor(
            self._caller, steady_calls, self._site.config, self._site.picture, CALLS_PER_S, seconds
        )
        showing = asyncio.create_task(self._show(seconds, what))
        times, refusals = await calls
        await showing
        self._figures.refusals += refusals
        return times

    async def _show(self, seconds: float, what: str) -> None:
        for _ in range(max(1, round(seconds))):
            await asyncio.sleep(min(1.0, seconds))
            self._progress(what, min(1.0, seconds))
