"""A quantised network is tried before anybody relies on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.versions.predictor import CHUNK
from training.export import latency


def test_a_network_is_tried_with_every_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some networks crash OpenVINO with one number of rows only. The crash itself needs a certain CPU."""
    asked: list[tuple[int, ...]] = []

    def session(batch: np.ndarray) -> None:
        asked.append(batch.shape)

    monkeypatch.setattr(latency, "open_session", lambda *_: session)
    latency._try(Path("pruned_int8.xml"), 2, (3, 8, 8))
    assert {rows for rows, *_ in asked} == set(range(1, CHUNK + 1))
    assert {shape[1:] for shape in asked} == {(3, 8, 8)}


def test_a_network_that_cannot_be_opened_does_not_survive(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("<net/>")
    assert not latency.survives(broken, (3, 8, 8), 1)
