"""The home page over HTTP, and in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows import story
from flows.process import ProcessStatus
from flows.stack.home import home_app
from flows.story.story import Reader
from flows.story.view import Page
from registry.core import journal
from registry.core.settings import Settings, settings
from serving.releases.deploy import free_port
from tests.flows.story.test_story import picture
from tests.waiting import until


@contextmanager
def served(app: Starlette, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def home(config: Settings) -> Iterator[str]:
    """The address of a served home page."""
    port = free_port()
    with served(home_app(config, list), port):
        yield f"http://127.0.0.1:{port}"


def test_before_anything_ran_it_says_what_to_do_and_lists_the_models(home: str) -> None:
    assert "visionloop demo" in httpx.get(home).text
    sections = httpx.get(f"{home}/story.json").json()["sections"]
    assert "skin_segmentation" in sections["versions"][1]
    assert "no live version" in sections["versions"][1]


def test_other_machines_are_told_to_log_in(home: str, config: Settings) -> None:
    """A proxy on this machine names the caller, as our server believes."""
    from_elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    for path in ("/", "/story.json", "/decisions/", "/picture?path=story/p.png"):
        answer = httpx.get(f"{home}{path}", headers=from_elsewhere)
        assert answer.status_code == 403
        assert f"{config.web_address}/office/documents/" in answer.text
    assert httpx.get(f"{home}/healthz", headers=from_elsewhere).status_code == 200


def test_it_serves_pages_pictures_and_the_story_to_keep(home: str, config: Settings) -> None:
    (config.var / "decisions" / "m").mkdir()
    (config.var / "decisions" / "m" / "one.html").write_text("<p>granted</p>")
    with journal.step("predict", "Predict"):
        journal.fact("predict", "look", picture=str(picture(config)))
    assert httpx.get(f"{home}/decisions/m/one.html").text == "<p>granted</p>"
    assert "/decisions/m/one.html" in httpx.get(f"{home}/story.json").json()["sections"]["overview"][1]
    found = httpx.get(f"{home}/picture", params={"path": str(config.var / "story" / "p.png")})
    assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
    assert "data:image/png" in httpx.get(f"{home}/story.html").text


def test_what_there_is_of_each_kind_has_a_page_of_its_own(home: str, config: Settings) -> None:
    """`/reports/` is what `make demo` prints."""
    for folder in ("decisions", "reports", "data-docs"):
        empty = httpx.get(f"{home}/{folder}", follow_redirects=True)
        assert (empty.status_code, "There are none yet" in empty.text) == (200, True)
    for model, why in (("a", "an <alarm>"), ("b", "quiet")):
        folder = config.var / "reports" / model / "0123"
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("the report")
        (folder / "verdict.json").write_text(json.dumps({"why": why}))
    (config.var / "decisions" / "a").mkdir()
    (config.var / "decisions" / "a" / "one.html").write_text("granted")
    (config.var / "decisions" / "a" / "one.json").write_text('{"summary": "a version 1 promoted"}')
    every = httpx.get(f"{home}/reports/").text
    assert "an &lt;alarm&gt;" in every
    for url in re.findall(r'href="(/[^"]*)"', every):
        assert httpx.get(f"{home}{url}").status_code == 200, url
    assert httpx.get(f"{home}/reports/a/0123/").text == "the report"
    of_b = httpx.get(f"{home}/reports/b/").text
    assert "quiet" in of_b
    assert "/reports/a/" not in of_b
    assert "a version 1 promoted" in httpx.get(f"{home}/decisions/").text


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/decisions", "/decisions/"),
        ("/decisions/a", "/decisions/a/"),
        ("/decisions/a%20b", "/decisions/a%20b/"),
        ("/reports", "/reports/"),
        ("/reports/a", "/reports/a/"),
        ("/reports/a/0123", "/reports/a/0123/"),
        ("/data-docs", "/data-docs/"),
        ("/data-docs/a", "/data-docs/a/"),
        ("/story", "/"),
        ("/story/", "/"),
    ],
)
def test_an_address_without_its_last_slash_leads_on(home: str, config: Settings, path: str, there: str) -> None:
    for page in (
        "decisions/a/1.html",
        "decisions/a b/1.html",
        "reports/a/0123/index.html",
        "data-docs/a/latest.html",
        "data-docs/validations/a/__none__/2026/suite.html",
    ):
        (config.var / page).parent.mkdir(parents=True, exist_ok=True)
        (config.var / page).write_text("a page")
    answer = httpx.get(f"{home}{path}", follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (200, f"{home}{there}")


def test_pages_are_listed_by_what_they_say_and_not_by_their_ids(home: str, config: Settings) -> None:
    """The panel of the story page, and the index pages."""
    pages = {
        "decisions/m/0a1b": {"challenger": 3, "granted": True, "summary": "m version 3 promoted"},
        "decisions/m/0a2b": {"challenger": 4, "granted": False, "word": "rolled back", "summary": "too slow"},
        "reports/m/0a3b/verdict": {"version": 3, "drifted": True, "why": "darker"},
        "data-docs/validations/m/__none__/20261202T130501/suite": {"summary": "14 checks pass"},
    }
    for name, content in pages.items():
        beside = config.var / f"{name}.json"
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(content))
        page = beside.with_name("index.html") if beside.stem == "verdict" else beside.with_suffix(".html")
        page.write_text("a page")
        moment = time.mktime((time.localtime().tm_year, 12, 2, 14, 5, 0, 0, 0, -1))
        os.utime(page, (moment, moment))
    panel = re.sub(r"<[^>]+>", "", httpx.get(f"{home}/story.json").json()["sections"]["overview"][1])
    every = "".join(httpx.get(f"{home}/{folder}/").text for folder in ("decisions", "reports", "data-docs"))
    for words in ("m version 3, granted", "m version 4, rolled back", "m version 3, DRIFT", "m, 14 checks pass"):
        assert f"{words}, 2 Dec 14:05" in panel
        assert words in every


@pytest.mark.parametrize("path", ["/typo", "/decisions/nobody/", "/reports/a/b", "/story/none.jpg"])
def test_a_typo_leads_a_person_on_and_tells_a_program(home: str, path: str) -> None:
    person = httpx.get(f"{home}{path}", headers={"Accept": "text/html,*/*"})
    assert person.status_code == 404
    assert person.headers["content-type"].startswith("text/html")
    assert path in person.text
    for url in ("/", "/decisions/", "/reports/", "/data-docs/"):
        assert f'href="{url}"' in person.text
        assert httpx.get(f"{home}{url}").status_code == 200
    program = httpx.get(f"{home}{path}")
    assert (program.status_code, program.text) == (404, "Not Found")


@pytest.mark.parametrize(
    "path",
    [
        "/decisions/../visionloop.db",
        "/decisions/%2e%2e/visionloop.db",
        "/decisions/..%2fvisionloop.db",
        "/decisions//etc/hostname",
        "/decisions/out",
        "/picture?path=../../../etc/hostname",
        "/picture?path=/etc/hostname",
        "/picture?path=visionloop.db",
        "/visionloop.db",
        "/mlflow/mlflow.db",
    ],
)
def test_nothing_else_of_this_machine_is_served(path: str, home: str, config: Settings) -> None:
    (config.var / "visionloop.db").write_text("secret")
    (config.var / "decisions" / "out").symlink_to("/etc/hostname")
    host, port = home.removeprefix("http://").split(":")
    # By hand: clients tidy such paths up before they send them.
    import socket

    with closing(socket.create_connection((host, int(port)))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404"), answer[:80]
    assert b"secret" not in answer


ENTRY = {"title": "", "task": "", "media_in": [], "media_out": []}


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ({"models": [{"name": "skin_segmentation", "version": 3, **ENTRY}]}, "version 3 is live"),
        ({"models": [{"name": "skin_segmentation", "version": None, **ENTRY}]}, "no live version"),
        ([], "no live version"),
        (None, "no live version"),
        ({"models": [{"version": 3}]}, "no live version"),
    ],
)
def test_live_versions_are_those_of_the_router_whatever_answers_at_its_port(
    home: str, config: Settings, answer: Any, version: str
) -> None:
    async def models(_: Request) -> Response:
        return JSONResponse(answer)

    app = Starlette(routes=[Route("/v1/models", models)])
    with served(app, config.router_port):
        shown = httpx.get(f"{home}/story.json").json()["sections"]["versions"][1]
    assert version in shown
    assert ("is live" in shown) == ("is live" in version)


@pytest.fixture
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    if not chromium:
        pytest.skip("this machine has no Chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


def test_in_a_browser_the_page_fills_in_as_the_loop_runs_without_redrawing_the_rest(
    home: str, config: Settings, browser: Any, tmp_path: Path
) -> None:
    story.begin("The whole loop", "skin_segmentation")
    with journal.step("data", "Make the data"):
        journal.fact("data", "12 cases", picture=str(picture(config)), caption="a case")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(home)
    page.wait_for_selector("text=12 cases")
    page.wait_for_timeout(1200)
    page.evaluate("document.querySelector('img').kept = true")

    journal.write("start", "train", title="Train the network", usually_s=60)
    journal.progress("train", 30, 120, "steps", "epoch 2")
    page.wait_for_selector("text=30 of 120 steps · epoch 2")
    width = page.evaluate("document.querySelector('.fill').style.width")
    assert width == "25%"
    journal.write("finish", "train", seconds=61.0, outcome="done")
    page.wait_for_selector("text=1 min 01 s")

    assert page.evaluate("document.querySelector('img').kept") is True, "the picture was drawn anew"
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "it must not scroll sideways on a phone"
    order = page.evaluate("[...document.querySelectorAll('article h2')].map(h => h.firstChild.textContent.trim())")
    assert order.index("Make the data") < order.index("Train the network")
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overlaps_or_runs_off_the_page(config: Settings, browser: Any, tmp_path: Path, width: int) -> None:
    """The places, with services whose names and addresses are long."""
    service = ProcessStatus(
        "suspect_classification-12-0a1b2c3d4e5f", "unhealthy", url="http://127.0.0.1:21111/" + 9 * "long/"
    )
    address = f"{config.router_address}/v1/models/suspect_classification/predict"
    with journal.run(), journal.step("release", "Release", "suspect_classification"):
        journal.fact("release", f"version 12 answers at {address}")
    statuses = [ProcessStatus("mlflow", "ready"), service]
    (tmp_path / "page.html").write_text(Page(config, live=True).document(Reader().read(), statuses))
    page = browser.new_page(viewport={"width": width, "height": 800}, java_script_enabled=False)
    page.goto(f"file://{tmp_path}/page.html")
    places = page.locator(".places li").all()
    assert len(places) == 5
    for place in places:
        boxes = [one.bounding_box() for one in place.locator("a, code, em").all()]
        pairs = [(a, b) for number, a in enumerate(boxes) for b in boxes[number + 1 :]]
        assert all(
            max(a["x"], b["x"]) >= min(a["x"] + a["width"], b["x"] + b["width"])
            or max(a["y"], b["y"]) >= min(a["y"] + a["height"], b["y"] + b["height"])
            for a, b in pairs
        ), boxes
    wide = browser.new_page(viewport={"width": width, "height": 800})
    wide.goto(f"file://{tmp_path}/page.html")
    assert wide.evaluate("document.documentElement.scrollWidth") <= width


def test_data_docs_of_a_real_check_are_reached_by_their_links(
    home: str, config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitoring.checks import validate
    from registry.contract import catalog

    monkeypatch.setenv("VISIONLOOP_VAR", str(config.var))
    settings.cache_clear()
    catalog.get("suspect_classification").data.synthesise(
        tmp_path / "set", {"seed": 3, "train": 3, "val": 1, "test": 1}
    )
    page = validate.validate("suspect_classification", tmp_path / "set").docs
    settings.cache_clear()
    url = f"{home}/{page.relative_to(config.var).as_posix()}"
    seen, todo = set(), [f"{home}/data-docs/", url, f"{home}/data-docs/suspect_classification/latest.html"]
    while todo:
        address = todo.pop()
        answer = httpx.get(address, follow_redirects=True)
        assert answer.status_code == 200, address
        seen.add(address)
        if "html" in answer.headers["content-type"] and "/data-docs/" in str(answer.url):
            links = (httpx.URL(address).join(link) for link in re.findall(r'href="([^"#]+)"', answer.text))
            todo += {str(link) for link in links if "/data-docs/" in str(link)} - seen - set(todo)
    assert "suspect_classification" in httpx.get(f"{home}/data-docs/suspect_classification/").text
    assert "checks pass" in httpx.get(f"{home}/data-docs/").text
    assert {url, f"{home}/data-docs/expectations/suspect_classification.html"} <= seen
