"""What is said of a fruit: its class, its features, and how near the classes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.core.media import FloatArray
from registry.vision_tasks.classification import Ranking

NEAREST = 5
FAR = 1e6
"""Distance that the network gives to a class it has seen no example of; such classes are not named."""


@dataclass(frozen=True, eq=False)
class FruitResult(Ranking):
    """A ranking of classes, with what it rests on.

    Attributes:
        features: float32 [1280], MobileNetV2's pooled features as they are.
        pca: float32 [K], the features standardised and projected on their principal components.
        distances: float32 [C], Euclidean, from `pca` to each class's centroid.
    """

    features: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    pca: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    distances: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))

    def nearest(self, count: int = NEAREST) -> list[tuple[str, float]]:
        """The `count` classes whose centroids are nearest, nearest first."""
        order = np.argsort(self.distances, kind="stable")[:count]
        return [(self.classes[n], float(self.distances[n])) for n in order if self.distances[n] < FAR / 2]

    def to_json(self) -> dict[str, Any]:
        """As `Ranking`, with `nearest` and `pca`. The features are 8 KB: ask for them as application/x-npy."""
        return super().to_json() | {
            "nearest": [{"class": name, "distance": round(far, 4)} for name, far in self.nearest()],
            "pca": [round(float(v), 4) for v in self.pca],
        }

    def statistics(self) -> dict[str, float]:
        """As `Ranking`, with the distance to the nearest class: it grows for fruit that is none of them."""
        return super().statistics() | {"nearest_distance": float(self.distances.min())}
