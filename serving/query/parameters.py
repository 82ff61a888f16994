"""The parameters of a call that change its answer: of detectors `score`, `iou`, `classes` and `max_detections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, did_you_mean
from serving.query.paging import bad_value, read_number

MAX_DETECTIONS = 300
"""Of one answer: `registry.vision_tasks.detector` finds no more."""
LEAST_SCORE = 0.01
"""What a detector holds at all: `registry.boxes.detection.FLOOR`."""
NAMES = ("score", "iou", "classes", "max_detections")


def parameter_names(spec: ModelSpec) -> tuple[str, ...]:
    """The query parameters that a model's predictions take."""
    return NAMES if spec.task == "detection" else ()


def read_parameters(query: Mapping[str, str], spec: ModelSpec, classes: Sequence[str]) -> dict[str, Any]:
    """The parameters that a query has, by name. `classes`: the version's. Raises BadInput."""
    found: dict[str, Any] = {}
    if not parameter_names(spec):
        return found
    for name, least in (("score", LEAST_SCORE), ("iou", 0.0)):
        if name in query:
            found[name] = _share(name, query[name], least)
    if "classes" in query:
        found["classes"] = [_class(one.strip(), classes) for one in query["classes"].split(",")]
    if "max_detections" in query:
        found["max_detections"] = read_number("max_detections", query["max_detections"], MAX_DETECTIONS)
    return found


def _share(name: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= 1:  # nor NaN
        raise bad_value(name, text, f"a number from {least:g} to 1", f"correct ?{name}=")
    return value


def _class(name: str, classes: Sequence[str]) -> str:
    if name not in classes:
        raise BadInput(
            f"there is no class {name[:40]!r}",
            expected="names of classes with commas between them, as GET schema lists them",
            fix=did_you_mean(name, classes, "correct ?classes="),
        )
    return name
