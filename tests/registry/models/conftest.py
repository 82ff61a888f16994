"""A small starter data set, made once for the folder's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.models.skin_segmentation import SPEC

SMALL = {"seed": 7, "train": 9, "val": 3, "test": 3}


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 + 3 cases; the eighth of train is 3-D. Read only: copy it before changing anything."""
    root = tmp_path_factory.mktemp("starter")
    SPEC.data.synthesise(root, SMALL)
    return root
