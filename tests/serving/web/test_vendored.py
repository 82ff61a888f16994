"""Files of other projects are what VENDORED.toml says."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import serving.web

FOLDER = Path(serving.web.__file__).parent / "static" / "vendor"
LISTED = {one["name"]: one for one in tomllib.loads((FOLDER / "VENDORED.toml").read_text(encoding="utf-8"))["file"]}


def test_each_file_is_listed_with_its_hash() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.[cj]s*")}
    assert found == {name: one["sha256"] for name, one in LISTED.items()}


def test_each_has_a_version_and_a_licence() -> None:
    assert all(one["version"] and one["licence"] and one["package"] for one in LISTED.values())
