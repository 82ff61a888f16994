"""What the viewers of the result page show of an answer: one form for all models, for templates and the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.templatetags.static import static
from django.utils.formats import number_format

from monitoring.feedback.label_check import names_a_class
from registry.contract import curves
from registry.contract.spec import ModelSpec
from registry.versions.bundle import Bundle
from registry.vision.drawing import class_colour
from serving.runs import files, low_scores
from serving.runs.models import Run
from serving.translation import specs

Shown = Literal["boxes", "classes", "mask", "scan", "video", "plain"]
Label = Literal["class", "boxes", "mask", ""]
BARS = 10
MOST_COLOURS = 21
"""Of classes of a mask: more than that share colours, and could not be told apart."""
DRAWN_BY_BROWSERS = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")


@dataclass(frozen=True)
class Bar:
    """A class with its share in [0, 1]."""

    name: str
    share: float
    colour: str

    @property
    def width(self) -> str:
        """Of 100, for an SVG."""
        return f"{100 * self.share:.2f}"


@dataclass(frozen=True)
class View:
    """How a result is shown.

    Attributes:
        data: for the browser's modules, as JSON.
        picture: address of what the browser draws; "": there is only the annotated picture.
        bars: the most probable classes, best first; `more`: how many others there are.
        facts: what else the answer says: volume, area, number of faces.
        labels: what a correction is: a class's name, boxes or a mask; "": this kind of result takes none.
        classes: that a correction may name.
    """

    kind: Shown
    data: dict[str, Any]
    picture: str = ""
    bars: Sequence[Bar] = ()
    more: int = 0
    labels: Label = ""
    classes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    size_mb: float | None = None


def view_of(
    run: Run,
    spec: ModelSpec,
    answer: Mapping[str, Any],
    present: Sequence[str],
    at: str,
    page: str,
    bundle: Bundle | None,
) -> View:
    """How the result of a run is shown.

    Args:
        answer: `answer.json`; present: names of the files that are there.
        at: address of the files; page: address of the result's page.
        bundle: of the version that answered; None where this machine does not have it.
    """
    kind = kind_of(answer, present)
    classes = bundle.manifest.classes if bundle else spec.classes
    picture = f"{at}{files.INPUT}" if run.media in DRAWN_BY_BROWSERS else ""
    base: dict[str, Any] = {"kind": kind, "run": run.id, "width": answer.get("width"), "height": answer.get("height")}
    base["names"] = {name: specs.class_name(name) for name in classes}
    parts: dict[str, Any] = {
        "picture": picture,
        "classes": classes,
        "labels": label_kind(spec, answer),
        "size_mb": answer.get("model_size_mb", bundle.manifest.chosen.size_mb if bundle else None),
    }
    if kind == "boxes":
        return View(kind, base | _boxes(answer, classes, bundle, run), **parts)
    if kind == "video":
        return View(kind, base | _video(answer, classes), **parts)
    if kind == "classes":
        bars = [Bar(name, share, colour_of(name, classes)) for name, share in answer["scores"].items()]
        return View(kind, base, **parts, bars=bars[:BARS], more=max(0, len(bars) - BARS))
    if kind == "mask":
        return View(kind, base | _mask(answer, classes, at), **parts)
    if kind == "scan":
        return View(kind, base | _scan(answer, at, page), **parts, facts=_volume(answer))
    return View("plain", base, **parts | {"labels": ""})


def kind_of(answer: Mapping[str, Any], present: Sequence[str]) -> Shown:
    """By what the answer holds, so that a new model of a known task needs nothing here."""
    if "tracks" in answer:
        return "video" if files.VIDEO in present else "plain"
    if "detections" in answer or "faces" in answer:
        return "boxes"
    if "scores" in answer:
        return "classes"
    if "slice_axis" in answer:
        return "scan" if files.MASK in present else "plain"
    if _has_areas(answer) and files.PICTURE_MASK in present:
        return "mask"
    return "plain"


def _has_areas(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is `registry.vision_tasks.segmentation.Segments` of classes that can be told apart."""
    return "foreground_share" in answer and 0 < len(answer.get("classes", ())) <= MOST_COLOURS


def colour_of(name: str, classes: Sequence[str]) -> str:
    """ "#rrggbb", as in the annotated pictures."""
    return _hex(classes.index(name) if name in classes else 0)


def _hex(number: int) -> str:
    blue, green, red = class_colour(number)
    return f"#{red:02x}{green:02x}{blue:02x}"


def label_kind(spec: ModelSpec, answer: Mapping[str, Any]) -> Label:
    """What a correction of this answer is. Videos take none: labels are of pictures."""
    if "tracks" in answer:
        return ""
    if "scores" in answer and names_a_class(spec):
        return "class"
    if "detections" in answer or "faces" in answer:
        return "boxes"
    return "mask" if "slice_axis" in answer or _has_areas(answer) else ""


def _boxes(answer: Mapping[str, Any], classes: Sequence[str], bundle: Bundle | None, run: Run) -> dict[str, Any]:
    """Boxes of a detector, or faces: then `said` is the probability of the class, and `score` that it is a face."""
    found = [*answer.get("detections", ()), *answer.get("faces", ()), *answer.get(low_scores.BELOW, ())]
    own = _threshold(answer, bundle)
    asked = float(run.options.get("score", 0.0 if own is None else own))
    if low_scores.BELOW in answer:
        asked = low_scores.LEAST
    curve = curves.read(bundle.path) if bundle else None
    return {
        "items": [_item(number, one, classes) for number, one in enumerate(found)],
        "classes": [{"class": name, "colour": _hex(number)} for number, name in enumerate(classes)],
        "threshold": own,
        "floor": asked if own is None else min(own, asked),
        "curve": {"precision": curve.precision, "recall": curve.recall, "cases": curve.cases} if curve else None,
    }


def _item(number: int, one: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    name = one.get("class", one.get("gender"))
    kind = classes.index(name) if name in classes else 0
    item = {"id": number, "class": name, "class_id": kind, "colour": _hex(kind), "box": one["box"]}
    if "gender" in one:
        return item | {"score": one["confidence"], "said": one["probability"]}
    return item | {"score": one["score"]}


def _threshold(answer: Mapping[str, Any], bundle: Bundle | None) -> float | None:
    """The score from which on the version itself counts a box: of faces the detector's least confidence."""
    if bundle is None:
        return None
    manifest = bundle.manifest
    known = manifest.preprocessing.get("confidence") if "faces" in answer else manifest.thresholds.get("score")
    return None if known is None else float(known)


def _video(answer: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    tracks = [
        {"class": one["class"], "first_s": one["first_s"], "last_s": one["last_s"], "colour": _hex(one["class_id"])}
        for one in answer["tracks"]
    ]
    return {"tracks": tracks, "tracks_total": answer["tracks_total"], "seconds": answer["seconds"]}


def _mask(answer: Mapping[str, Any], classes: Sequence[str], at: str) -> dict[str, Any]:
    """`classes`: with the value that each has in the mask, and its share of the picture."""
    listed = [
        {"class": one["name"], "value": one["value"], "share": one["share"], "colour": colour_of(one["name"], classes)}
        for one in answer["classes"]
    ]
    return {"mask": f"{at}{files.PICTURE_MASK}", "classes": listed}


def _scan(answer: Mapping[str, Any], at: str, page: str) -> dict[str, Any]:
    """`slice`: the one with most of the mask, in the file's own voxels."""
    areas = answer.get("slice_area_mm2") or [0]
    best = max(range(len(areas)), key=areas.__getitem__) if any(areas) else len(areas) // 2
    return {
        "scan": f"{at}{files.INPUT}",
        "mask": f"{at}{files.MASK}",
        "slices": f"{page}slices/",
        "niivue": static("vendor/niivue.umd.js"),
        "flat": len(answer.get("shape", ())) == 2,
        "slice": {"axis": answer["slice_axis"], "first": best},
    }


def _volume(answer: Mapping[str, Any]) -> dict[str, Any]:
    areas = answer.get("slice_area_mm2") or [0]
    return {
        "share": 100 * answer["foreground_share"],
        "volume_ml": answer["volume_mm3"] / 1000 if len(answer["shape"]) == 3 else None,
        "area_cm2": max(areas) / 100,
        "spacing": " x ".join(number_format(f"{edge:.3g}") for edge in answer["spacing_mm"][: len(answer["shape"])]),
        "shape": " x ".join(map(str, answer["shape"])),
    }
