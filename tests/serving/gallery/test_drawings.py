"""A version that saw nothing but drawings says so beside its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.versions import learned
from tests.bundles import make_tiny_bundle
from tests.registry.versions.test_learned import case


@pytest.mark.parametrize(
    ("origins", "drawn"),
    [
        (["starter"], True),
        (["starter", "drift-b31f386d"], True),
        (["starter", "hospital-a"], False),
        (["hospital-a"], False),
        ([], False),
    ],
)
def test_only_versions_without_anybodys_own_data_are_named(
    web: str, tmp_path: Path, origins: list[str], drawn: bool
) -> None:
    from serving.gallery.versions import learned_from_drawings

    bundle = make_tiny_bundle(tmp_path / "bundle")
    learned.write(bundle.path, [case(tmp_path, f"c{n}", "train", origin) for n, origin in enumerate(origins)], None)
    assert learned_from_drawings(bundle) is drawn
