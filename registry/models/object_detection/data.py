"""The data set: pictures with labelled boxes, in YOLO's layout, classes numbered as in COCO."""

from __future__ import annotations

from registry.datasets.layouts import BoxSet
from registry.models.object_detection import SPEC, scenes

_set = BoxSet(SPEC.name, SPEC.classes, scenes.make, train=400, val=50, test=75)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, add, move, inspect, checks = _set.cases, _set.add, _set.move, _set.inspect, _set.checks
