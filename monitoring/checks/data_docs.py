"""Great Expectations' data docs, made readable offline.

`var/data-docs` is the site (`visionloop up` serves it at /data-docs/) and `var/gx` its stores. The original pages load
styles, scripts and the logo from five content networks, and the index lists runs with a script. Here outside links are
removed from each new page, one local file has the few styles that the pages use, and the index is a plain page.
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
from typing import TYPE_CHECKING, Any

from registry.core.files import write_file
from registry.core.settings import settings

if TYPE_CHECKING:
    import pandas as pd

SITE = "site"
KEPT = 30
"""Runs kept per model."""

THUMBNAIL = 200
"""Pixels of a case's picture on the page."""

# Elements that only load something from elsewhere, or belong to those that do.
_FOREIGN = re.compile(
    r"<script\b.*?</script\s*>|<link\b[^>]*>|<!--.*?-->|<footer\b.*?</footer>",
    re.DOTALL | re.IGNORECASE,
)
_PICTURES = re.compile(r"<img\b[^>]*https?://[^>]*>", re.DOTALL | re.IGNORECASE)
_ELSEWHERE = re.compile(r"<a\b[^>]*href=\"(?:\.\./)+[^>]*>(.*?)</a>", re.DOTALL)  # its own index, by script
_URLS = re.compile(r"url\(\s*['\"]?https?://[^)]*\)", re.IGNORECASE)

STYLE = Path(__file__).with_name("data_docs.css")


@dataclass(frozen=True)
class Problem:
    """What is wrong and how to fix it, and small JPEGs of some of the cases, by case id."""

    says: str
    fix: str
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def folder() -> Path:
    """The site. GX puts `validations/<model>/...html` and `expectations/<model>.html` there."""
    return settings().var / "data-docs"


def run_checkpoint(model: str, table: pd.DataFrame, suite: Mapping[str, Any]) -> Any:
    """Validates the table; the checkpoint's action updates the data docs. `ExpectationSuiteValidationResult`."""
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.data_context.types.base import DataContextConfig

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        config_version=4.0,
        stores=_stores(),
        expectations_store_name="expectations_store",
        validation_results_store_name="validation_results_store",
        checkpoint_store_name="checkpoint_store",
        data_docs_sites={SITE: site},
        fluent_datasources={},
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    expectations = context.suites.add_or_update(gx.ExpectationSuite(**suite))
    asset = context.data_sources.add_pandas(model).add_dataframe_asset("cases")
    batch = asset.add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(name=model, data=batch, suite=expectations)
    checkpoint = gx.Checkpoint(
        name=model,
        validation_definitions=[context.validation_definitions.add_or_update(definition)],
        actions=[UpdateDataDocsAction(name="update_data_docs", site_names=[SITE])],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["case"]},
    )
    found = context.checkpoints.add_or_update(checkpoint).run(batch_parameters={"dataframe": table})
    return next(iter(found.run_results.values()))


def _stores() -> dict[str, dict[str, Any]]:
    kinds = {
        "expectations_store": "ExpectationsStore",
        "validation_results_store": "ValidationResultsStore",
        "checkpoint_store": "CheckpointStore",
        "validation_definition_store": "ValidationDefinitionStore",
    }
    return {
        name: {
            "class_name": kind,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(settings().var / "gx" / name.removesuffix("_store")),
            },
        }
        for name, kind in kinds.items()
    }


def forget_old(model: str) -> None:
    """Leaves the newest runs of a model, so that with the one to come there are `KEPT`."""
    for base in (folder() / "validations", settings().var / "gx" / "validation_results"):
        for run in sorted((base / model).glob("*/*"), key=lambda path: path.name)[: -(KEPT - 1)]:
            shutil.rmtree(run, ignore_errors=True)


def publish(model: str, found: Any, problems: Sequence[Problem]) -> Path:
    """Makes the pages of the last run readable offline, and the index; returns the run's page.

    `problems` stand at the top of it; `<model>/latest.html` is a copy that keeps its address.
    """
    now = datetime.now(UTC)
    run = max((folder() / "validations" / model).glob("*/*"), key=lambda path: path.name)
    page = next(run.glob("*.html"))
    raw, title = page.read_text(encoding="utf-8"), f"{model}, {now:%Y-%m-%d %H:%M} UTC"
    write_file(folder() / "style.css", STYLE.read_bytes())
    for path in (page, folder() / model / "latest.html"):
        write_file(path, offline(raw, title, problems, _up(path)))
    suite = folder() / "expectations" / f"{model}.html"
    write_file(suite, offline(suite.read_text(encoding="utf-8"), f"the suite of {model}", (), _up(suite)))
    facts = {"model": model, "time": now.isoformat(timespec="seconds"), "passed": bool(found.success)}
    failed = sum(not result.success for result in found.results)
    facts |= {"checks": len(found.results), "failed": failed}
    every = len(found.results)
    facts["summary"] = f"{failed} of {every} checks failed" if failed else f"{every} checks pass"
    write_file(page.with_suffix(".json"), json.dumps(facts))
    shutil.rmtree(folder() / "static", ignore_errors=True)  # what its own pages would have loaded from here
    write_file(folder() / "index.html", _index())
    return page


def _up(path: Path) -> str:
    """From a page to the site's root, e.g. `../`."""
    return "../" * (len(path.relative_to(folder()).parts) - 1)


def offline(page: str, title: str, problems: Sequence[Problem], up: str) -> str:
    """A page of Great Expectations without anything that it would fetch from elsewhere. `up`: the way to the root."""
    text = _ELSEWHERE.sub(r"\1", _URLS.sub("none", _PICTURES.sub("", _FOREIGN.sub("", page))))
    head = (
        f'<meta charset="utf-8"><title>Data check: {html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="{up}style.css">'
    )
    text = re.sub(r"<title>.*?</title>", "", text, flags=re.DOTALL)
    text = text.replace("</head>", f"{head}</head>", 1)
    items = "".join(
        f"<li><b>{html.escape(one.says)}</b><br>{html.escape(one.fix)}{_figures(one.pictures)}</li>" for one in problems
    )
    bar = f'<p><a href="{up}index.html">All data checks</a></p><h1>Data check: {html.escape(title)}</h1>' + (
        f'<div class="card"><p class="failed">Not fit for training:</p><ul>{items}</ul></div>' if items else ""
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
    for path in sorted(folder().glob("validations/*/*/*/*.json"), key=lambda path: path.parent.name, reverse=True):
        run = json.loads(path.read_text(encoding="utf-8"))
        model, link = html.escape(run["model"]), path.with_suffix(".html").relative_to(folder()).as_posix()
        verdict = "passed" if run["passed"] else f"{run['failed']} failed"
        tone = "passed" if run["passed"] else "failed"
        rows.append(
            f'<tr><td>{model}</td><td><a href="{html.escape(link)}">{html.escape(run["time"])}</a></td>'
            f'<td><a href="expectations/{model}.html">{run["checks"]}</a></td><td class="{tone}">{verdict}</td></tr>'
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data checks</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="style.css">'
        '</head><body><div class="container"><h1>Data checks</h1><p>Each time a data set was checked with Great '
        "Expectations before training, the newest first.</p><table><tr><th>Model</th><th>Time (UTC)</th>"
        f"<th>Checks</th><th>Outcome</th></tr>{''.join(rows)}</table></div></body></html>"
    )
