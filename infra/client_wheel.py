"""`make client-wheel`: the Python client as a wheel of its own, `visionloop_client`. It needs httpx and pydantic only.

Its modules are those of `serving/client` and `registry/core/errors.py`, with the names of their packages changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = "visionloop_client"
DEPENDENCIES = ("httpx", "pydantic")
_RENAMED = (
    (r"from registry\.core import errors", f"from {PACKAGE} import errors"),
    (r"registry\.core\.errors", f"{PACKAGE}.errors"),
    (r"serving\.client", PACKAGE),
)


def main() -> None:
    wheel = build(PROJECT / "build" / "client")
    print(f"{wheel}\ninstall it with pip; then: from {PACKAGE} import Client")


def build(out: Path) -> Path:
    """Builds the wheel in `out`, which is emptied, and returns its path."""
    shutil.rmtree(out, ignore_errors=True)
    package = out / "source" / PACKAGE
    package.mkdir(parents=True)
    sources = {path.name: path for path in (PROJECT / "serving" / "client").glob("*.py")}
    for name, path in {**sources, "errors.py": PROJECT / "registry" / "core" / "errors.py"}.items():
        (package / name).write_text(_renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
    (package / "py.typed").touch()
    shutil.copy(PROJECT / "LICENSE", out / "source")
    (out / "source" / "pyproject.toml").write_text(_metadata(), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*command, "--no-index", "--no-build-isolation", "--wheel-dir", str(out), str(out / "source")], check=True
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def _renamed(text: str) -> str:
    for old, new in _RENAMED:
        text = re.sub(old, new, text)
    return text


def _metadata() -> str:
    """pyproject.toml of the wheel: version, Python and bounds are the project's."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [one for one in project["dependencies"] if re.match(r"[\w-]+", one)[0] in DEPENDENCIES]  # type: ignore[index]
    return f"""[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "visionloop-client"
version = "{project["version"]}"
description = "Asks a visionloop router: predictions, tasks, feedback, usage."
license = "{project["license"]}"
license-files = ["LICENSE"]
requires-python = "{project["requires-python"].partition(",")[0]}"
dependencies = {needed}

[tool.setuptools]
packages = ["{PACKAGE}"]

[tool.setuptools.package-data]
{PACKAGE} = ["py.typed"]
"""


if __name__ == "__main__":
    main()
