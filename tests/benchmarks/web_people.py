"""People with browsers, as HTTP clients: they browse, send a photograph, look at the result, and think in between.

What a server notices of a browser is kept: a session, CSRF, six connections, compression, a cache that obeys
Cache-Control, modules that import modules, and HTMX's looks at the state of a fresh run.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aiohttp
from yarl import URL

CONNECTIONS = 6
LOOK_S = 0.3
PATIENCE_S = 60.0
MOST_THOUGHT = 10
"""A pause is at most so many times the mean one."""
_PARTS = re.compile(r'<(?:img|script|link)\b[^>]*?\b(?:src|href)="([^"]+)"')
_MODULES = re.compile(r'(?:from|import\()\s*"(\.{1,2}/[^"]+\.js)"')
_FRESH = re.compile(r"max-age=(\d+)")
_CSRF = re.compile(r'data-csrf="([^"]+)"')


class Clock:
    """The time of people, which stands still while nobody lets it run."""

    def __init__(self) -> None:
        self._runs = asyncio.Event()
        self._before = self._since = 0.0
        self.over = False

    def now(self) -> float:
        """Seconds that it ran."""
        return self._before + (time.monotonic() - self._since if self._runs.is_set() else 0.0)

    def run(self) -> None:
        self._since = time.monotonic()
        self._runs.set()

    def stop(self) -> None:
        self._before = self.now()
        self._runs.clear()

    async def sleep(self, seconds: float) -> None:
        due = self.now() + seconds
        while (left := due - self.now()) > 0:
            await self._runs.wait()
            await asyncio.sleep(left)


@dataclass
class PeopleTally:
    """What people met. `times`: what was asked -> milliseconds of each; `waits_ms`: from the end of an upload to its
    result beside it."""

    times: dict[str, list[float]] = field(default_factory=dict)
    waits_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    results: int = 0

    @property
    def requests(self) -> int:
        return sum(map(len, self.times.values()))


class Fault(Exception):
    """Something that a person would complain about."""


class Browser:
    """A window with cookies and a cache.

    Args:
        address: of the web application.
        session: the key of a session that is logged in.
    """

    def __init__(self, address: str, session: str, tally: PeopleTally) -> None:
        self._address, self._tally = address, tally
        self._cache: dict[str, float] = {}
        jar = aiohttp.CookieJar(unsafe=True)  # the address is a number
        jar.update_cookies({"sessionid": session}, response_url=URL(address))
        self._http = aiohttp.ClientSession(
            cookie_jar=jar,
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=20),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        )

    async def close(self) -> None:
        await self._http.close()

    async def open(self, path: str, what: str) -> str:
        """The text of a page, once all its parts are there."""
        text = (await self.ask("GET", path, what)).decode()
        await asyncio.gather(*(self._part(urljoin(path, part)) for part in set(_PARTS.findall(text))))
        return text

    async def _part(self, path: str) -> None:
        if self._cache.get(path, 0.0) > time.monotonic():
            return
        self._cache[path] = time.monotonic() + PATIENCE_S  # two parts may name the same one
        headers: dict[str, str] = {}
        content = await self.ask("GET", path, "static" if path.startswith("/static/") else "file", answered=headers)
        fresh = _FRESH.search(headers.get("Cache-Control", ""))
        self._cache[path] = time.monotonic() + float(fresh[1]) if fresh else 0.0
        if path.endswith(".js") and "/vendor/" not in path:
            found = set(_MODULES.findall(content.decode()))
            await asyncio.gather(*(self._part(urljoin(path, one)) for one in found))

    async def ask(
        self, method: str, path: str, what: str, answered: dict[str, str] | None = None, **more: object
    ) -> bytes:
        """The body of an answer; its headers go into `answered`. Raises Fault where it is not a good one."""
        began = time.perf_counter()
        try:
            async with self._http.request(method, self._address + path, allow_redirects=False, **more) as answer:
                content = await answer.read()
                if answer.status not in (200, 201):
                    raise Fault(f"{what}: {answer.status} {content[:80].decode(errors='replace')}")
                if answered is not None:
                    answered.update({name.title(): value for name, value in answer.headers.items()})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Fault(f"{what}: {type(error).__name__}") from error
        self._tally.times.setdefault(what, []).append(1000 * (time.perf_counter() - began))
        return content


class Visitor:
    """One person, who goes on until the clock is over.

    Args:
        think_s: mean of the pauses between pages. They are exponential and cut at ten times the mean, as in TPC-W
            (https://www.tpc.org/tpcw/), whose mean is 7 s.
    """

    def __init__(
        self,
        number: int,
        browser: Browser,
        clock: Clock,
        tally: PeopleTally,
        model: str,
        picture: bytes,
        think_s: float,
    ) -> None:
        self._number, self._browser, self._clock, self._tally = number, browser, clock, tally
        self._model, self._picture, self._think_s = model, picture, think_s
        self._chance = random.Random(number)
        self._sent = 0
        self.busy = False

    async def live(self) -> None:
        await self._think()
        while not self._clock.over:
            self.busy = True
            try:
                await self._visit()
            except Fault as fault:
                self._tally.errors[str(fault)] += 1
                await self._think()
        await self._browser.close()

    async def _visit(self) -> None:
        await self._browser.open("/", "gallery")
        await self._think()
        page = await self._browser.open(f"/models/{self._model}/", "model page")
        await self._think()
        token = _CSRF.search(page)
        if token is None:
            raise Fault("model page: no place for an upload")
        run = await self._upload(token[1])
        await self._look(run)
        await self._think()
        await self._browser.open("/history/", "history")
        await self._think()
        await self._browser.open(f"/runs/{run}/", "result page")
        await self._think()

    async def _upload(self, token: str) -> str:
        """The id of the run."""
        self._sent += 1
        headers = {"X-CSRFToken": token, "Origin": self._browser._address}
        asked = {"model": self._model, "name": f"photo-{self._number}-{self._sent}.jpg", "size": len(self._picture)}
        asked |= {"start": b64encode(self._picture[:65536]).decode(), "consent": True}
        begun = await self._browser.ask("POST", "/uploads", "upload: begin", json=asked, headers=headers)
        run = re.search(rb'"id": ?"(\w+)"', begun)
        if run is None:
            raise Fault(f"upload: {begun[:80].decode()}")
        identity = run[1].decode()
        headers["Upload-Offset"] = "0"
        await self._browser.ask("PUT", f"/uploads/{identity}", "upload", data=self._picture, headers=headers)
        return identity

    async def _look(self, run: str) -> None:
        """Looks at the place beside the upload, until the result is there."""
        began = time.perf_counter()
        text = await self._browser.open(f"/runs/{run}/beside", "beside the upload")
        while "data-view" not in text:
            if "alert-danger" in text or time.perf_counter() - began > PATIENCE_S:
                raise Fault("result: failed" if "alert-danger" in text else "result: not there in time")
            await asyncio.sleep(LOOK_S)
            text = await self._browser.open(f"/runs/{run}/status?beside", "state, at last with the result")
        self._tally.results += 1
        self._tally.waits_ms.append(1000 * (time.perf_counter() - began))

    async def _think(self) -> None:
        self.busy = False
        pause = min(self._chance.expovariate(1 / self._think_s), MOST_THOUGHT * self._think_s)
        await self._clock.sleep(pause)
        self.busy = True


class Crowd:
    """Many people. They live between `begin` and `end`; the clock says whether they move."""

    def __init__(self, visitors: list[Visitor], clock: Clock, tally: PeopleTally) -> None:
        self._visitors, self.clock, self.tally = visitors, clock, tally
        self._lives: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._lives = [asyncio.create_task(one.live()) for one in self._visitors]

    async def rest(self) -> None:
        """Stops the clock, and waits until nobody is at work any more."""
        self.clock.stop()
        end = time.monotonic() + PATIENCE_S
        while any(one.busy for one in self._visitors) and time.monotonic() < end:
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self.clock.over = True
        for life in self._lives:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life
        for one in self._visitors:
            await one._browser.close()


def crowd(address: str, sessions: list[str], model: str, picture: bytes, think_s: float) -> Crowd:
    """As many people as sessions."""
    clock, tally = Clock(), PeopleTally()
    visitors = [
        Visitor(number, Browser(address, session, tally), clock, tally, model, picture, think_s)
        for number, session in enumerate(sessions)
    ]
    return Crowd(visitors, clock, tally)
