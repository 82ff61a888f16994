"""The page of a story: as it lives, and as one file to keep."""

from __future__ import annotations

import base64
import json
import re
import time
from contextlib import suppress
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows import story
from flows.story.figures import duration
from flows.story.versions import ModelVersions
from flows.story.view import Page, write_story
from registry.core import journal
from registry.core.settings import Settings
from tests.flows.story.test_story import PIXEL, picture, told


class Outside(HTMLParser):
    """Collects what a page loads from elsewhere, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script":
            self.loads.append("script")
        for name in ("src", "srcset", "data", "poster"):
            if values.get(name):
                self.loads.append(str(values[name]))
        if tag == "link":
            self.loads.append(str(values.get("href")))


def whole_story(config: Settings) -> None:
    story.begin("The whole loop", "skin_segmentation")
    with journal.step("predict", "Predict", "skin_segmentation"):
        journal.fact("predict", "One <prediction> of `v1`", picture=str(picture(config)), caption="a & b")
    with journal.step("monitor", "Notice"):
        pictures = [{"picture": str(picture(config, "q.png")), "caption": "bias"}]
        journal.fact("monitor", "Drift", alarm=True, pictures=pictures, link="reports/x/report.html", label="report")
    with journal.step("decide", "Decide"):
        reasons = [{"rule": "floor", "passed": False, "found": "0.7", "expected": "0.8"}]
        journal.fact("decide", "No", granted=False, reasons=reasons)
    with journal.step("retrain", "Retrain"):
        rows = [{"name": "stream", "before": 0.61, "after": 0.93}]
        journal.fact("retrain", "Dice", compare={"metric": "Dice", "rows": rows, "before": "v1", "after": "v2"})
    (config.var / "reports" / "x").mkdir(parents=True)
    (config.var / "reports" / "x" / "report.html").write_text("report")


def test_the_kept_story_is_one_file_without_scripts_that_tells_everything(config: Settings, tmp_path: Path) -> None:
    whole_story(config)
    page = write_story(tmp_path / "out" / "story.html", config).read_text()
    outside = Outside()
    outside.feed(page)
    assert all(address.startswith("data:") for address in outside.loads), outside.loads
    assert page.count(base64.b64encode(PIXEL).decode()) == 2
    assert "One &lt;prediction&gt; of <code>v1</code>" in page
    assert "a &amp; b" in page
    for words in ("0.610", "0.930", "refused", "floor", config.mlflow_address, config.router_address):
        assert words in page
    assert f'href="{config.home_address}/reports/x/report.html"' in page
    assert re.search(r'class="fact +alarm', page)


def test_the_live_page_leaves_pictures_to_the_server_and_clocks_to_the_browser(config: Settings) -> None:
    whole_story(config)
    journal.write("start", "quiet", title="Quiet")
    page, found = Page(config, live=True), told(config)
    first = page.state(found, (), {})
    assert "data:image/png" not in json.dumps(first["sections"])
    assert "/picture?path=" in json.dumps(first["sections"])
    journal.progress("quiet", 1, 2)
    second = page.state(told(config), (), {})
    changed = [key for key, (digest, _) in second["sections"].items() if first["sections"][key][0] != digest]
    assert changed == [], "progress alone must not redraw a section"
    (bar,) = second["bars"].values()
    assert bar["share"] == 0.5


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/hostname", "visionloop.db", "mlflow/mlflow.db", "", "link.png", "a\0b"]
)
def test_only_pictures_of_this_project_are_shown(path: str, config: Settings) -> None:
    config.var.mkdir(parents=True)
    (config.var / "visionloop.db").write_text("secret")
    (config.var / "link.png").symlink_to("/etc/hostname")
    assert Page(config, live=True).picture(path) == ""
    assert Page(config, live=False).picture(path) == ""


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "visionloop.db"])
def test_a_link_leads_to_the_web_or_to_a_page_of_ours(address: str, config: Settings) -> None:
    config.var.mkdir(parents=True)
    (config.var / "visionloop.db").write_text("secret")
    assert Page(config, live=True).link(address) == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3700, "1 h 01 min")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_compression_table_marks_what_serves_and_the_curves_show_the_training(config: Settings) -> None:
    score = {"value": 0.9571, "low": 0.945, "high": 0.967, "cases": 24}
    variant = {
        "name": "pruned bf16",
        "score": score,
        "p50_ms": 4.12,
        "p95_ms": 5.0,
        "size_mb": 8.1,
        "macs": 512_000_000,
    }
    variants = [{**variant, "name": "dense", "chosen": False}, {**variant, "chosen": True}]
    history = [{"epoch": n, "loss": 1 / n, "val_loss": 1.1 / n, "val_dice": 1 - 0.1 / n} for n in range(1, 6)]
    journal.fact("compress", "chosen", variants=variants)
    journal.fact("train", "learnt", history=history)
    page = Page(config, live=False).document(told(config))
    assert re.search(r'class="marked">\s*<td[^>]*>pruned bf16', page)
    assert "0.945 to 0.967" in page
    assert "512" in page
    assert page.count("<polyline") == 3
    assert "val dice 0.980" in page


def test_a_story_of_several_models_shows_those_to_come_and_keeps_their_steps_inside(config: Settings) -> None:
    story.begin("Two models", plan=["One", "Two"])
    with journal.step("model", "One", "one") as running:
        with journal.step("train", "Train", "one"):
            journal.fact("train", "went well", "one")
        running.note = "served"
    found = told(config).steps
    assert [(step.title, step.state) for step in found] == [("One", "done"), ("Two", "pending")]
    assert [inner.title for inner in found[0].parts] == ["Train"]
    with journal.step("model", "Two", "two"):
        assert [(step.title, step.state) for step in told(config).steps] == [("One", "done"), ("Two", "running")]


def headings(page: str) -> list[str]:
    """The heading of each run: date, model and what came out."""
    found = re.findall(r'<h2 class="run">(.*?)</h2>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", "", one).split()) for one in found]


def test_each_run_of_the_loop_has_a_heading_with_its_date_and_what_came_out(config: Settings) -> None:
    for version, word in ((1, "promoted"), (2, "refused")):
        with journal.run(), journal.step("decide", "Decide", "m") as running:
            running.note = f"version {version} {word}"
    with journal.run(), suppress(RuntimeError), journal.step("train", "Train", "n"):
        raise RuntimeError("the disk is full")
    with journal.run(), journal.step("data", "Make the data", "m"):
        journal.fact("data", "12 cases", "m")
    page = Page(config, live=False).document(told(config))
    words = ["version 1 promoted", "version 2 refused", "Train: failed, the disk is full", "Make the data: 12 cases"]
    assert [one.split(" ", 4)[4] for one in headings(page)] == words
    assert all(re.match(r"\d+ \w{3} \d\d:\d\d [mn] ", one) for one in headings(page))
    assert page.count("<details") == 3, "the runs before the latest are folded up"
    assert page.index("12 cases</p>") > page.rindex("</details>")


def test_a_run_that_still_runs_stays_in_sight_when_another_one_ends(config: Settings) -> None:
    with journal.run("long"), journal.step("train", "Train", "m"):
        with journal.run("short"), journal.step("monitor", "Look", "m") as running:
            running.note = "version 1: no drift"
        said = headings(Page(config, live=False).document(told(config)))
    assert [one.partition(" m ")[2] for one in said] == ["version 1: no drift", "running: Train"]


def test_what_the_guard_says_much_later_is_not_told_under_its_earlier_words(config: Settings) -> None:
    for days_ago, text in ((3, "canary at 50 %"), (0, "version 2 rolled back")):
        line = {"time": time.time() - days_ago * 86400, "kind": "fact", "step": "release", "model": "m", "text": text}
        config.var.mkdir(parents=True, exist_ok=True)
        with journal.path().open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert [[fact.text for fact in step.facts] for step in told(config).steps] == [
        ["canary at 50 %"],
        ["version 2 rolled back"],
    ]
    assert headings(Page(config, live=False).document(told(config)))[-1].endswith("m Release: version 2 rolled back")


def test_the_page_says_which_version_is_live_which_is_champion_and_why_one_was_released_anyway(
    config: Settings,
) -> None:
    name = "skin_segmentation"
    with journal.run(), journal.step("release", "Release", name):
        journal.fact("release", "released", name, alarm=True, version=3, anyway="the <fair> is tomorrow")

    def page(live: int, champion: int | None, mlflow: bool = True) -> str:
        rows = [ModelVersions(name, live, champion, mlflow), ModelVersions("fruit_features", None, None, mlflow)]
        html = Page(config, live=True).sections(told(config), (), {"models": rows})["versions"]
        return unescape(" ".join(re.sub(r"<[^>]+>", "", html).split()))

    assert "version 3 is live; MLflow's champion is version 2" in page(3, 2)
    assert "Version 3 was released without the gate's grant (--anyway): the <fair> is tomorrow" in page(3, 2)
    assert "fruit_features" not in page(3, 2)
    assert page(2, 2).endswith("version 2 is live and MLflow's champion")
    assert page(2, None).endswith("version 2 is live; MLflow has no champion")
    assert page(2, None, mlflow=False).endswith("version 2 is live")
    with journal.run(), journal.step("release", "Release", name):
        journal.fact("release", "the gate granted version 3", name, version=3, anyway="")
    assert "--anyway" not in page(3, 3)


def test_the_rules_that_failed_come_first(config: Settings) -> None:
    reasons = [{"rule": rule, "passed": rule != "size", "found": "", "expected": ""} for rule in ("floor", "size")]
    journal.fact("decide", "No", granted=False, reasons=reasons)
    page = Page(config, live=False).document(told(config))
    assert page.index(">size<") < page.index(">floor<")
