"""The data set: pictures with labelled boxes, in YOLO's layout."""

from __future__ import annotations

from registry.datasets.layouts import BoxSet
from registry.models.weapon_detection import SPEC, scenes

_set = BoxSet(SPEC.name, SPEC.classes, scenes.make, train=720, val=60, test=90)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, add, move, inspect, checks = _set.cases, _set.add, _set.move, _set.inspect, _set.checks
