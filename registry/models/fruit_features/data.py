"""The data set: pictures in class folders. A user's own fruits may be others than the starter set's: the data says."""

from __future__ import annotations

from registry.models.fruit_features import SPEC, scenes
from registry.vision.dataset import ClassSet

_set = ClassSet("fruit_features", SPEC.classes, scenes.make, train=600, val=225, open_classes=True)

synthesise, synthesise_stream, import_from = _set.synthesise, _set.synthesise_stream, _set.import_from
cases, classes, add = _set.cases, _set.classes, _set.add
inspect, checks = _set.inspect, _set.checks
