"""Turns a `Story` into HTML: sections by id for the live page, or one file to keep."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from flows.process import ProcessStatus
from flows.story import figures
from flows.story.runs import Run, by_run
from flows.story.story import Fact, Reader, Step, Story, walk
from flows.story.versions import Versions, of_story
from registry.contract import catalog
from registry.core.files import write_file
from registry.core.settings import Settings

SERVED = ("decisions", "data-docs", "reports", "story")
"""Folders of `var` that the home page serves as they are."""
MOST_RUNS = 12
"""Of the runs before and since, these many are shown."""
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".svg", ".gif"})


@lru_cache(maxsize=1)
def templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = figures.duration
    environment.filters["clock"] = lambda seconds: time.strftime("%H:%M:%S", time.localtime(seconds))
    environment.filters["day"] = lambda seconds: time.strftime("%-d %B %Y, %H:%M", time.localtime(seconds))
    environment.filters["when"] = when
    environment.filters["marked"] = marked
    environment.globals.update(before_after=figures.before_after, curves=figures.curves, timings=figures.timings)
    return environment


def when(seconds: float) -> str:
    """2 Dec 14:05; with the year where it is not this one."""
    moment, today = time.localtime(seconds), time.localtime()
    return time.strftime("%-d %b %H:%M" if moment.tm_year == today.tm_year else "%-d %b %Y %H:%M", moment)


def variants_table(variants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table of a bundle's variants (`registry.versions.bundle.Variant` as JSON). `mark`: row of the chosen one."""
    columns = ["variant", "on validation", "95 % interval", "p50 ms", "p95 ms", "MB", "MMACs"]
    rows = [
        [
            one["name"],
            round(one["score"]["value"], 4),
            f"{one['score']['low']:.3f} to {one['score']['high']:.3f}",
            *(round(one[name], 1) for name in ("p50_ms", "p95_ms", "size_mb")),
            round(one["macs"] / 1e6),
        ]
        for one in variants
    ]
    mark = next((index for index, one in enumerate(variants) if one.get("chosen")), None)
    return {"columns": columns, "rows": rows, "mark": mark}


def marked(text: str) -> Markup:
    """Makes text in back quotes `code`. Escapes everything else."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


class Page:
    """Renders stories of one project.

    `live`: pictures and links go through the home page. Otherwise pictures are inlined, links are absolute, and the
    page needs no script.
    """

    def __init__(self, settings: Settings, live: bool) -> None:
        self.settings = settings
        self.live = live

    def sections(
        self, story: Story, statuses: Sequence[ProcessStatus] = (), extra: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Section id -> HTML, in the order of the page.

        Clocks and bars move every second. `bars` has them, so that a section changes only when something happened.
        """
        context = {"story": story, "live": self.live, "page": self, "now": 0 if self.live else time.time()}
        # A story with a title is one run. Without a title the latest run is shown, and those before are folded up.
        *before, run = by_run(story.steps) if story.steps and not story.title else [Run(story.steps)]
        versions = of_story((extra or {}).get("models") or (), story.model, story.anyway, story.has_begun)
        context |= {
            "statuses": statuses,
            "places": self.places(statuses, story.model),
            **(extra or {}),
            "run": run,
            "models": versions,
        }
        found = {"head": self._render("head.html", context), "versions": self._render("versions.html", context)}
        if story.has_begun:
            for one in before[-MOST_RUNS:]:
                found[f"run-{one.key}"] = self._render("run.html", {**context, "run": one, "open": one.running})
            if not story.title:
                found[f"now-{run.key}"] = self._render("run_heading.html", context)
            for step in run.steps:
                found[f"step-{step.key}"] = self._render("step.html", {**context, "step": step})
            if story.closing:
                found["closing"] = self._render("closing.html", context)
            later, word = by_run(story.since)[-MOST_RUNS:], ""
            for one in later:
                before_word, word = word, "Since then" if 0 < story.ended < one.began else "Meanwhile"
                shown = {**context, "run": one, "open": one.running or one is later[-1]}
                shown |= {"word": word if word != before_word else ""}
                found[f"run-{one.key}"] = self._render("run.html", shown)
            if sum(step.seconds > 0 for step in walk(run.steps)) > 1:
                found["timings"] = self._render("timings.html", context)
        found["overview"] = self._render("overview.html", context)
        found["places"] = self._render("places.html", context)
        return found

    def bars(self, story: Story) -> dict[str, dict[str, Any]]:
        """Step key -> how far it is, for every running step."""
        running = [step for step in walk(story.steps + story.since) if step.state == "running"]
        return {step.key: {"share": round(step.share, 4), "text": self.progress_text(step)} for step in running}

    def state(self, story: Story, statuses: Sequence[ProcessStatus], extra: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON that the live page asks for each second."""
        parts = {
            key: [hashlib.md5(html.encode(), usedforsecurity=False).hexdigest()[:12], html]
            for key, html in self.sections(story, statuses, extra).items()
        }
        current = story.current
        title = f"{current.title} · visionloop" if current else "visionloop"
        return {"title": title, "now": time.time(), "sections": parts, "bars": self.bars(story)}

    def document(
        self, story: Story, statuses: Sequence[ProcessStatus] = (), extra: Mapping[str, Any] | None = None
    ) -> str:
        parts = self.sections(story, statuses, extra)
        return self._render("page.html", {"story": story, "sections": parts, "live": self.live})

    def progress_text(self, step: Step) -> str:
        parts = []
        if step.total > 0:
            parts.append(f"{step.done:g} of {step.total:g} {step.unit}".strip())
        if step.doing:
            parts.append(step.doing)
        return " · ".join(parts)

    def places(self, statuses: Sequence[ProcessStatus], model: str = "") -> list[dict[str, str]]:
        """The pages of the stack: name, what it is, address, state."""
        s = self.settings
        states = {status.name: status.state for status in statuses}
        rows = [
            ("Story", "this page", s.home_address, "home"),
            ("Predictions", "the API, one path per model", f"{s.router_address}/v1/models", "router"),
            ("MLflow", "versions and the runs that made them", s.mlflow_page(model), "mlflow"),
            ("Prefect", "flows and schedules", s.prefect_page, "prefect"),
        ]
        found = [{"name": n, "what": w, "url": u, "state": states.get(key, "")} for n, w, u, key in rows]
        for status in statuses:
            what = _what(status.name)
            if what:
                name = "Drift reports" if status.name == "drift-ui" else _service(status.name)
                found.append({"name": name, "what": what, "url": status.url, "state": status.state})
        return found

    def picture(self, path: str) -> str:
        """The `src` of a picture. "" if the file is absent or outside the project."""
        file = self.find(path)
        if file is None or file.suffix.lower() not in PICTURES:
            return ""
        if self.live:
            return f"/picture?path={quote(str(path))}&at={int(file.stat().st_mtime)}"
        kind = mimetypes.guess_type(file.name)[0] or "image/png"
        return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"

    def find(self, path: str) -> Path | None:
        """The file, if it is in `build` or in `var` once symbolic links are followed."""
        for base in (self.settings.var, self.settings.root):
            try:
                file = (base / path).resolve()
            except (OSError, ValueError):
                continue
            if file.is_file() and any(file.is_relative_to(b) for b in (self.settings.var, self.settings.build)):
                return file
        return None

    def link(self, address: str) -> str:
        """An address as it is, or the home page's address of a file in `var`. "" for anything else."""
        if address.startswith(("http://", "https://")):
            return address
        file = self.find(address)
        if file is None or not file.is_relative_to(self.settings.var):
            return ""
        relative = file.relative_to(self.settings.var)
        if relative.parts[0] not in SERVED:
            return ""
        base = "" if self.live else self.settings.home_address
        return f"{base}/{quote(str(relative))}"

    def pictures(self, fact: Fact) -> list[dict[str, str]]:
        data = fact.data
        given = [data, *data.get("pictures", ())]
        found = [(self.picture(str(one.get("picture", ""))), str(one.get("caption", ""))) for one in given]
        return [{"src": source, "caption": caption} for source, caption in found if source]

    def links(self, fact: Fact) -> list[dict[str, str]]:
        url = self.link(str(fact.data.get("link", "")))
        return [{"url": url, "label": str(fact.data.get("label", "look"))}] if url else []

    def table(self, fact: Fact) -> dict[str, Any]:
        if "variants" in fact.data:
            return variants_table(fact.data["variants"])
        rows = [[name, value] for name, value in fact.data.get("table", {}).items()]
        return {"columns": [], "mark": None, "rows": rows} if rows else {}

    def _render(self, name: str, context: Mapping[str, Any]) -> str:
        return templates().get_template(name).render(**context)


def _service(process: str) -> str:
    """What a service is called: its process is MODEL-VERSION-DIGEST."""
    model, _, rest = process.partition("-")
    return f"{model} version {rest.partition('-')[0]}"


def _what(process: str) -> str:
    """What a service's or the drift UI's process is, in words. "" for the others."""
    if process == "drift-ui":
        return "drift reports, Evidently's own view"
    model = next((name for name in catalog.names() if process.startswith(f"{name}-")), "")
    return f"the service of {catalog.get(model).title}" if model else ""


def write_story(path: Path, config: Settings, statuses: Sequence[ProcessStatus] = (), run: str = "") -> Path:
    """Writes the story as one HTML file without scripts or other files. `run`: as in `Reader`.

    Raises:
        StorageError: it cannot be written.
    """
    story = Reader(config.var / "journal.jsonl", run).read()
    extra = {"models": Versions(config).all() if statuses else ()}
    return write_file(path, Page(config, live=False).document(story, statuses, extra))
