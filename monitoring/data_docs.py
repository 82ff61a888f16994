"""Great Expectations' data docs, made to be read offline: `var/data-docs/index.html`.

Great Expectations' own site loads its styles, its scripts and even its logo from five content networks, and lists the
runs by script. Here each run is rendered by its renderer, what points outside is taken out, the few styles that
its pages use stand in one local file, and the index is a plain page.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.files import write_file
from registry.settings import settings

KEPT = 30
"""Pages kept per model."""

THUMBNAIL = 200
"""Pixels of a case's picture on the page."""

# Whole elements whose only purpose is to load something from elsewhere, or to serve those that did.
_FOREIGN = re.compile(
    r"<script\b.*?</script\s*>|<link\b[^>]*>|<!--.*?-->|<footer\b.*?</footer>",
    re.DOTALL | re.IGNORECASE,
)
_PICTURES = re.compile(r"<img\b[^>]*https?://[^>]*>", re.DOTALL | re.IGNORECASE)
_ELSEWHERE = re.compile(r"<a\b[^>]*href=\"\.\./\.\./[^>]*>(.*?)</a>", re.DOTALL)  # pages of a site that is not there
_URLS = re.compile(r"url\(\s*['\"]?https?://[^)]*\)", re.IGNORECASE)

STYLE = Path(__file__).with_name("templates") / "data_docs.css"


@dataclass(frozen=True)
class Problem:
    """What is wrong and how to mend it, in words; and small JPEGs of some of the cases, by their names."""

    says: str
    mend: str
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def folder() -> Path:
    return settings().var / "data-docs"


def publish(model: str, found: Any, problems: Sequence[Problem]) -> Path:
    """Renders one validation result (`ExpectationSuiteValidationResult`) as a page; returns the page's path.

    `problems` stand at the top.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    now = datetime.now(UTC)
    page = folder() / model / f"{now:%Y%m%d-%H%M%S-%f}.html"
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(found)
    raw = DefaultJinjaPageView().render(document)
    write_file(folder() / "style.css", STYLE.read_bytes())
    write_file(page, offline(raw, f"{model}, {now:%Y-%m-%d %H:%M} UTC", problems))
    facts = {"time": now.isoformat(timespec="seconds"), "passed": bool(found.success)}
    facts |= {"checks": len(found.results), "failed": sum(not result.success for result in found.results)}
    write_file(page.with_suffix(".json"), json.dumps(facts))
    for old in sorted(page.parent.glob("*.html"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)
    shutil.copyfile(page, page.with_name("latest.html"))
    write_file(folder() / "index.html", _index())
    return page


def offline(page: str, title: str, problems: Sequence[Problem] = ()) -> str:
    """A page of Great Expectations without anything that it would fetch from elsewhere."""
    text = _ELSEWHERE.sub(r"\1", _URLS.sub("none", _PICTURES.sub("", _FOREIGN.sub("", page))))
    head = (
        f'<meta charset="utf-8"><title>Data check: {html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="../style.css">'
    )
    text = re.sub(r"<title>.*?</title>", "", text, flags=re.DOTALL)
    text = text.replace("</head>", f"{head}</head>", 1)
    told = "".join(
        f"<li><b>{html.escape(one.says)}</b><br>{html.escape(one.mend)}{_figures(one.pictures)}</li>"
        for one in problems
    )
    bar = f'<p><a href="../index.html">All data checks</a></p><h1>Data check: {html.escape(title)}</h1>' + (
        f'<div class="card"><p class="failed">Not fit for training:</p><ul>{told}</ul></div>' if told else ""
    )
    return re.sub(r"(<body[^>]*>)", lambda match: match[1] + bar, text, count=1)


def thumbnail(jpeg: bytes) -> bytes:
    """The same picture, at most `THUMBNAIL` pixels wide and high."""
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    scale = THUMBNAIL / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def _figures(pictures: Mapping[str, bytes]) -> str:
    shown = "".join(
        f'<figure><img alt="{html.escape(name)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, jpeg in pictures.items()
    )
    return f'<div class="figures">{shown}</div>' if shown else ""


def _index() -> str:
    rows = []
    for facts in sorted(folder().glob("*/*.json"), key=lambda path: path.name, reverse=True):
        said = json.loads(facts.read_text(encoding="utf-8"))
        model, link = facts.parent.name, f"{facts.parent.name}/{facts.stem}.html"
        verdict = "passed" if said["passed"] else f"{said['failed']} failed"
        tone = "passed" if said["passed"] else "failed"
        rows.append(
            f'<tr><td>{html.escape(model)}</td><td><a href="{html.escape(link)}">{html.escape(said["time"])}</a></td>'
            f'<td>{said["checks"]}</td><td class="{tone}">{verdict}</td></tr>'
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data checks</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="style.css">'
        '</head><body><div class="container"><h1>Data checks</h1><p>Each time a data set was checked with Great '
        "Expectations before training, the newest first.</p><table><tr><th>Model</th><th>Time (UTC)</th>"
        f"<th>Checks</th><th>Outcome</th></tr>{''.join(rows)}</table></div></body></html>"
    )
