"""Pictures, and a version that describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.versions.bundle import Bundle
from tests.flows.batch.feature_bundle import make_feature_bundle
from tests.flows.batch.running import draw


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_feature_bundle(tmp_path_factory.mktemp("features") / "bundle")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """100 pictures in two folders and beside them: four parts of 32."""
    root = tmp_path / "pictures"
    for n in range(100):
        folder = ("apple/red", "pear", "")[n % 3]
        draw(root / folder / f"{n:03d}.{('jpg', 'png')[n % 2]}", n)
    return root
