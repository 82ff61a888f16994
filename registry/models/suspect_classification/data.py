"""The data set: pictures in class folders (`registry.datasets.layouts.ClassSet`)."""

from __future__ import annotations

from registry.datasets.layouts import ClassSet
from registry.models.suspect_classification import SPEC, scenes

_set = ClassSet("suspect_classification", SPEC.classes, scenes.make, train=1400, val=125, test=175)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, add, move = _set.cases, _set.add, _set.move
inspect, checks = _set.inspect, _set.checks
