"""What a process says in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

FORBIDDEN_LABELS = {"caller", "key", "path", "prediction", "prediction_id", "id", "address", "user"}
"""They would be people's, or without an end."""


class Samples:
    """The samples of one answer. `of` finds one, `labels` are all names of labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [one for family in self.families.values() for one in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels. Raises KeyError where there is none."""
        found = [one.value for one in self._samples if one.name == name and labels.items() <= one.labels.items()]
        if not found:
            raise KeyError(f"{name} {labels}")
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        return any(one.name == name and labels.items() <= one.labels.items() for one in self._samples)

    def values(self, label: str) -> set[str]:
        return {one.labels[label] for one in self._samples if label in one.labels}

    @property
    def labels(self) -> set[str]:
        return {name for one in self._samples for name in one.labels}


def scrape(address: str, headers: Mapping[str, str] | None = None, **options: Any) -> Samples:
    """Reads `/metrics` below an address as Prometheus does."""
    answer = httpx.get(f"{address}/metrics", headers=dict(headers or {}), timeout=30, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Samples(answer.text)
