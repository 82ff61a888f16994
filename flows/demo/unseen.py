"""Scores versions on a shifted stream that none of them was trained on, for the demo's last figure."""

from __future__ import annotations

from collections.abc import Iterator

from flows.champions import load_predictor
from registry.contract import catalog


def scores(model: str, numbers: tuple[int, ...], how: str, severity: float, count: int, seed: int) -> tuple[float, ...]:
    """The model's metric of each version on the same `count` inputs, computed in this process.

    Raises:
        NotFound: a version is not in the registry.
    """
    spec = catalog.get(model)
    items = list(spec.data.synthesise_stream(count, seed))
    truths = [spec.score.truth(item.truth.encode() if isinstance(item.truth, str) else item.truth) for item in items]

    def bodies() -> Iterator[bytes]:
        for number, item in enumerate(items):  # as flows.demo.stream sends them
            yield spec.shift.shift(item.body, how, severity, seed + number)

    found = []
    for number in numbers:
        predictor = load_predictor(model, number)
        found.append(float(spec.score.score([predictor(body).result for body in bodies()], truths)))
    return tuple(found)
