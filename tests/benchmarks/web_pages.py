"""How long pages take: at the server over HTTP, and in a real browser with an empty cache."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from registry.core.errors import MissingService
from tests.benchmarks.web_site import MODEL, Site
from tests.serving.runs.asking import over, upload

TIMES = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const parts = performance.getEntriesByType("resource");
  return {
    server: page.responseEnd - page.requestStart,
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    load: page.loadEventEnd,
    bytes: parts.reduce((sum, part) => sum + part.transferSize, page.transferSize),
  };
}"""
PAINTED = """() => performance.getEntriesByName("first-contentful-paint").length > 0"""


@dataclass
class PageFigures:
    """Of one page. Milliseconds, except `kb`.

    Attributes:
        http_ms: from a request to the last byte of its answer.
        server_ms: the same as the browser saw it.
        paint_ms, load_ms: from the beginning of the navigation to the first contents, and to the event `load`.
        kb: of the page with all its parts, as they were sent.
    """

    http_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    paint_ms: list[float] = field(default_factory=list)
    load_ms: list[float] = field(default_factory=list)
    kb: list[float] = field(default_factory=list)


def measure(site: Site, rounds: int, progress: Callable[[str], None]) -> dict[str, PageFigures]:
    """The first page and the page of a result, by turns. Raises MissingService: there is no browser."""
    person = site.people[0]
    with closing(person.client(site.address)) as client, _chromium() as browser:
        run = upload(client, MODEL, "photo.jpg", site.picture)
        assert over(client, run)["state"] == "done"
        figures = {"/": PageFigures(), f"/runs/{run}/": PageFigures()}
        for _ in range(rounds):
            for path, found in figures.items():
                found.http_ms.append(_timed(client, path))
                _look(browser, site.address, path, person.cookie(site.address), found)
                progress(path)
    return dict(zip(("first page", "result page"), figures.values(), strict=True))


@contextmanager
def _chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise MissingService("there is no chromium", expected="a browser to measure in", fix="make browser")
    with sync_playwright() as driver:
        # It makes a socket in its profile, whose path may have some hundred characters only.
        env = {**os.environ, "TMPDIR": "/tmp"}
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"], env=env)
        try:
            yield running
        finally:
            running.close()


def _timed(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def _look(browser: Any, address: str, path: str, cookie: dict[str, Any], found: PageFigures) -> None:
    """One visit by somebody whose browser was never here."""
    context = browser.new_context()
    try:
        context.add_cookies([cookie])
        page = context.new_page()
        page.goto(f"{address}{path}", wait_until="networkidle")
        page.wait_for_function(PAINTED)  # a busy machine paints late
        times = page.evaluate(TIMES)
    finally:
        context.close()
    found.server_ms.append(times["server"])
    found.paint_ms.append(times["paint"])
    found.load_ms.append(times["load"])
    found.kb.append(times["bytes"] / 1000)
