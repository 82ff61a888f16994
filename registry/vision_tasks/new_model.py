"""Writes the folder of an ordinary model."""

from __future__ import annotations

import re
from pathlib import Path

from registry.contract import catalog
from registry.core.errors import BadInput
from registry.core.files import write_file
from registry.vision_tasks.networks import FAMILIES

TASKS = {
    "classification": ("classifier", "timm/mobilenetv3_small_100", "macro_f1"),
    "detection": ("detector", "ultralytics/yolov8n", "map50"),
    "segmentation": ("segmenter", "smp/unet-mobilenet_v2", "dice"),
}
"""Task -> what builds it, its network and its metric, where nothing else is asked for."""

LABELS = {"classification": "classes", "detection": "boxes", "segmentation": "masks"}
"""Task -> the kind of its labels, a key of `registry.datasets.importing.LAYOUTS`."""

METRICS = {
    "macro_f1": 'Metric("macro_f1", "Macro F1", floor=0.5)',
    "accuracy": 'Metric("accuracy", "Accuracy", floor=0.5)',
    "error_rate": 'Metric("error_rate", "Error rate", floor=0.5, higher_is_better=False)',
    "map50": 'Metric("map50", "mAP50", floor=0.3)',
    "map50_95": 'Metric("map50_95", "mAP50-95", floor=0.2)',
    "dice": 'Metric("dice", "Dice", floor=0.5)',
    "iou": 'Metric("iou", "IoU", floor=0.4)',
}
MEASURED_BY = {
    "classification": ("macro_f1", "accuracy", "error_rate"),
    "detection": ("map50", "map50_95"),
    "segmentation": ("dice", "iou"),
}

SPEC = '''"""{title}."""

from registry.contract.spec import Budget, Metric, ModelSpec

SPEC = ModelSpec(
    name="{name}",
    title="{title}",
    task="{task}",
    framework="{framework}",
    classes={classes},
    metric={metric},
    budget=Budget(latency_ms=100.0, size_mb=50.0, metric_loss=0.02),
    weights=("hub",),
)
'''
MODEL = '''"""The model: an ordinary {builder} of pictures."""

from registry.models.{name} import SPEC
from registry.vision_tasks.{builder} import {builder}

MODEL = {builder}(SPEC, network="{network}")
'''


def write_model(name: str, task: str, classes: list[str], network: str = "", metric: str = "", title: str = "") -> Path:
    """Writes `registry/models/<name>` and returns it.

    Args:
        task: one of `TASKS`.
        classes: in the order of the network's outputs.
        network, metric, title: "": the usual ones of the task, and the name in words.

    Raises:
        BadInput: there is such a model already, or something does not fit the task. Nothing is written.
    """
    builder, usual, decides = TASKS[task]
    network, metric = network or usual, metric or decides
    _check(name, classes, task, network, metric)
    fields = {
        "name": name,
        "title": (title or name.replace("_", " ").capitalize()).replace('"', "'"),
        "task": task,
        "framework": FAMILIES[network.partition("/")[0]].framework,
        "classes": _tuple(classes),
        "metric": METRICS[metric],
        "builder": builder,
        "network": network,
    }
    folder = catalog.FOLDER / name
    write_file(folder / "__init__.py", SPEC.format(**fields))
    write_file(folder / "model.py", MODEL.format(**fields))
    return folder


def _check(name: str, classes: list[str], task: str, network: str, metric: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput(f"the name is {name!r}", expected="lower case, digits and _", fix="choose another name")
    if (catalog.FOLDER / name).exists():
        raise BadInput(
            f"there is a model {name!r}", expected="a new name", fix="choose another name, or edit its folder"
        )
    odd = [one for one in classes if not re.fullmatch(r"[\w][\w .-]*", one)]
    least = 2 if task == "classification" else 1
    if odd or len(classes) < least or len({one.casefold() for one in classes}) < len(classes):
        raise BadInput(
            f"the classes are {', '.join(classes) or 'none'}",
            expected=f"{least} or more different names of letters, digits, spaces, _, . and -",
            fix="--classes glass,metal,paper",
        )
    family, _, architecture = network.partition("/")
    if family not in FAMILIES or not architecture or task not in FAMILIES[family].tasks:
        raise BadInput(
            f"the network is {network!r}",
            expected=f"one for {task}, e.g. {TASKS[task][1]}",
            fix="correct --network, or leave it out",
        )
    if metric not in MEASURED_BY[task]:
        fitting = ", ".join(MEASURED_BY[task])
        raise BadInput(f"the metric is {metric!r}", expected=f"one of {fitting}", fix="correct --metric")


def _tuple(names: list[str]) -> str:
    text = "(" + ", ".join(f'"{one}"' for one in names) + ("," if len(names) == 1 else "") + ")"
    if len(text) < 100:
        return text
    return "(\n" + "".join(f'        "{one}",\n' for one in names) + "    )"
