"""With `gallery_open = false` nobody sees models or examples before the log-in."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from registry.core.settings import settings
from serving.releases import deploy
from tests.conftest import PROJECT
from tests.serving.conftest import Processes
from tests.serving.people import Person
from tests.waiting import until


@pytest.fixture
def closed(project: str, processes: Processes) -> Iterator[str]:
    """The address of a web application that is closed."""
    port = str(deploy.free_port())
    own = {"VISIONLOOP_GALLERY_OPEN": "false", "VISIONLOOP_WEB_PORT": port}
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT), **own}
    address = f"http://127.0.0.1:{port}"
    processes.start("web-closed", [sys.executable, "-m", "serving.launchers.web"], env, f"{address}/healthz")
    yield address
    processes.stop("web-closed")


def test_a_closed_gallery_shows_nothing_to_strangers(
    web: str, closed: str, detector: str, persons: list[Person]
) -> None:
    page = until(lambda: text if "before.jpg" in (text := httpx.get(web, timeout=30).text) else None, 60)
    example = page.partition("/files/")[2].partition("/")[0]
    paths = (f"/files/{example}/input", f"/files/{example}/before.jpg", f"/runs/{example}/")
    with httpx.Client(base_url=closed, timeout=30, trust_env=False) as stranger:
        for path in ("/", f"/models/{detector}/"):
            answer = stranger.get(path)
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (302, "/accounts/login/")
        assert [stranger.get(path).status_code for path in paths] == [404] * 3
    known = persons[3].client(closed)
    assert [known.get(path).status_code for path in paths] == [200] * 3
    known.close()
