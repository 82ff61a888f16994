"""A real browser for tests of pages: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

AXE = Path(__file__).parent / "serving" / "web" / "axe.min.js"
"""axe-core 4.14.1 (MPL-2.0), as its npm package has it: finds faults of accessibility."""
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """The browser. Skips the test where none is installed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no chromium: `make browser` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments])
        try:
            yield running
        finally:
            running.close()


class Visitor:
    """A person with a browser of their own: cookies, a window, and what went wrong in it.

    Attributes:
        page: Playwright's page.
        faults: errors of the console, uncaught exceptions, and requests to other hosts.
    """

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self._address = address
        # Pages scroll smoothly otherwise, and on a busy machine a place is another one by the time of the click.
        still = {"reduced_motion": "reduce"}
        self._context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **still, **context})
        self.faults: list[str] = []
        self.page = self._context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("request", self._request)

    def open(self, path: str) -> Any:
        return self.page.goto(f"{self._address}{path}")

    def axe(self, *rules: str) -> list[str]:
        """Serious faults of accessibility on the page: rule, and the first element. `rules`: these only."""
        noticed = list(self.faults)  # axe reads style sheets in ways that the security policy reports
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        # Of rules that are kept it would describe each element, which takes most of its time.
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = self.page.evaluate("options => axe.run(options)", options)["violations"]
        self.faults[:] = noticed
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in serious]

    def close(self) -> None:
        self._context.close()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.netloc != urlsplit(self._address).netloc:
            self.faults.append(f"another host: {request.url}")
