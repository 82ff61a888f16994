"""The verdict: what the monitor found in a window of predictions, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monitoring.drift import diagnosis
from registry.core.settings import settings


@dataclass(frozen=True)
class Verdict:
    """A verdict on one window.

    Attributes:
        id: 12 hex digits.
        time: unix seconds.
        predictions, errors, labels: answered predictions in the window, failed requests, labelled predictions.
        drifted: any of `kinds`, or inputs that are broken.
        kinds: data, prediction, embedding, performance -> whether it drifted, as Evidently's report found.
        action: none, bad_input, label, retrain or roll_back.
        why: what led to it, in plain words.
        scores: the tests' statistics, thresholds and p-values, JSON-able.
        unwatched: statistic -> why no test looks at it.
        responsible: prediction ids, the one farthest from the reference first.
        folder: index.html, verdict.json, pictures.
    """

    id: str
    time: float
    model: str
    version: int
    predictions: int
    errors: int
    labels: int
    drifted: bool
    kinds: dict[str, bool]
    action: diagnosis.Action
    why: str
    scores: dict[str, Any] = field(default_factory=dict)
    unwatched: dict[str, str] = field(default_factory=dict)
    responsible: tuple[str, ...] = ()
    folder: Path = Path()

    @property
    def page(self) -> Path:
        return self.folder / "index.html"

    def to_json(self) -> str:
        body = {**asdict(self), "folder": str(self.folder.relative_to(settings().var))}
        return json.dumps(body, indent=2, default=str) + "\n"
