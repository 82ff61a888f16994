"""A verdict's page: one self-contained HTML file, with the pictures also as files beside it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monitoring.drift.diagnosis import ADVICE
from monitoring.drift.findings import Finding, Performance, Table
from monitoring.report import plots
from registry.versions.predictor import Predictor

if TYPE_CHECKING:
    from monitoring.drift.verdict import Verdict

logger = logging.getLogger("visionloop.watch")
TEMPLATES = Path(__file__).parent
KINDS = {
    "data": "Inputs: image statistics",
    "prediction": "Answers: prediction statistics",
    "embedding": "Features: network embedding",
    "performance": "Score on labelled inputs",
}
HEADLINES = {
    "none": "no drift",
    "bad_input": "the inputs are broken",
    "label": "drift, and labels are missing",
    "retrain": "drift: time to retrain",
    "roll_back": "this version is worse than the one before",
}


class PageContent(NamedTuple):
    """An input to show: its bytes as uploaded, its label or None, and the caption."""

    body: bytes
    truth: Any
    caption: str


class Picture(NamedTuple):
    jpeg: bytes
    caption: str

    @property
    def uri(self) -> str:
        return _uri(self.jpeg, "jpeg")


def draw(predictor: Predictor, shown: Sequence[PageContent]) -> list[Picture]:
    """Each input with the version's answer drawn over it, and the truth as an outline if it is known.

    An input that can no longer be read or drawn is left out.
    """
    pictures = []
    for one in shown:
        try:
            prediction = predictor(one.body)
            truth = predictor.spec.score.truth(one.truth) if one.truth else None
            jpeg = predictor.spec.render.picture(prediction.sample, prediction.result, truth)
        except Exception:  # a page must not fail because one of its pictures cannot be drawn
            logger.warning("an input cannot be drawn: %s", one.caption, exc_info=True)
            continue
        pictures.append(Picture(jpeg, one.caption))
    return pictures


def write_page(
    folder: Path,
    verdict: Verdict,
    *,
    reference: Table,
    window: Table,
    finding: Finding | None,
    performance: Performance | None,
    responsible: Sequence[Picture],
    known: Sequence[Picture],
    evidently: bool,
) -> None:
    """Writes index.html, plots and pictures into `folder`. `reference` is the part that was compared."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    drawn = {}
    if finding is not None:
        drawn["distributions"] = plots.distributions(reference, window, finding)
        embedding = plots.embeddings(reference, window)
        if embedding:
            drawn["embedding"] = embedding
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    for kind, pictures in (("responsible", responsible), ("known", known)):
        for number, picture in enumerate(pictures, 1):
            (folder / f"{kind}-{number}.jpg").write_bytes(picture.jpeg)
    template = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("verdict.html.jinja")
    page = template.render(
        v=verdict,
        when=datetime.fromtimestamp(verdict.time, UTC).strftime("%Y-%m-%d %H:%M"),
        headline=HEADLINES[verdict.action] if verdict.drifted or verdict.action != "none" else _quiet(finding),
        todo=ADVICE[verdict.action],
        finding=finding,
        performance=performance,
        kinds=KINDS,
        responsible=responsible,
        known=known,
        evidently=evidently,
        distributions=_uri(drawn["distributions"], "png") if "distributions" in drawn else "",
        embedding=_uri(drawn["embedding"], "png") if "embedding" in drawn else "",
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _quiet(finding: Finding | None) -> str:
    return "no drift" if finding else "too little to judge"


def _uri(raw: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode('ascii')}"
