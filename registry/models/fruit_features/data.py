"""The data set: pictures in class folders. A user's own fruits may be others than the starter set's: the data says."""

from __future__ import annotations

from registry.datasets.layouts import ClassSet
from registry.models.fruit_features import SPEC, scenes

_set = ClassSet("fruit_features", SPEC.classes, scenes.make, train=2400, val=120, test=150, open_classes=True)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, classes, add, move = _set.cases, _set.classes, _set.add, _set.move
inspect, checks = _set.inspect, _set.checks
