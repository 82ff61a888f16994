"""The data set: pictures with a box for every face, in YOLO's layout; the class is what the face is labelled."""

from __future__ import annotations

from registry.datasets.layouts import BoxSet
from registry.models.face_gender import SPEC, scenes

_set = BoxSet(SPEC.name, SPEC.classes, scenes.make, train=160, val=40, test=60)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, add, move, inspect, checks = _set.cases, _set.add, _set.move, _set.inspect, _set.checks
