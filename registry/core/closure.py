"""Finds the source files and installed packages that some of our modules need. It reads them and imports nothing.

By hand: `grimp` is a development tool, and this runs wherever a version is registered.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("registry", "monitoring", "training", "serving", "flows")
OURS = ("registry", "monitoring", "serving")
"""The packages that a service may contain."""


@dataclass(frozen=True)
class Closure:
    """What modules need.

    Attributes:
        files: paths relative to the project, e.g. `registry/contract/spec.py`.
        packages: import names from outside the standard library, e.g. {"cv2", "numpy"}.
    """

    files: tuple[Path, ...]
    packages: frozenset[str]


def closure_of(modules: tuple[str, ...], project: Path, within: Collection[str] = OURS) -> Closure:
    """Follows the imports of `modules`, those inside functions too, but not those under TYPE_CHECKING.

    Args:
        modules: full names, e.g. `registry.versions.pyfunc_model`.
        project: the folder that holds our packages.
        within: our packages to follow imports into.
    """
    files: set[Path] = set()
    packages: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file_of(name, project)
        if path is None or path in files:
            continue
        files.add(path)
        if "." in name:
            waiting.append(name.rpartition(".")[0])  # a package's __init__ comes with each of its modules
        for found in _imports_of((project / path).read_text(encoding="utf-8")):
            top = found.partition(".")[0]
            if top in within:
                waiting.append(found)
            elif top not in sys.stdlib_module_names:
                packages.add(top)
    return Closure(tuple(sorted(files)), frozenset(packages))


def requirements(packages: frozenset[str]) -> list[str]:
    """Import names -> sorted `distribution==version` of what is installed here."""
    owners = installed()
    # `mlflow` is in mlflow-skinny as well. The distribution named like the package is the complete one.
    names = {package if package in owners[package] else owners[package][0] for package in packages if package in owners}
    return sorted(f"{name}=={distribution(name).version.partition('+')[0]}" for name in names)


@cache
def installed() -> Mapping[str, list[str]]:
    """Import name -> the distributions that have it. Read once a process: it takes a second or more."""
    return packages_distributions()


def _file_of(module: str, project: Path) -> Path | None:
    base = Path(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if (project / candidate).is_file():
            return candidate
    return None


@lru_cache(maxsize=1024)
def _imports_of(source: str) -> tuple[str, ...]:
    return tuple(_imports(ast.parse(source)))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Full names of imported modules. `from a import b` gives `a` and `a.b`: b may be a module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imports(node)


def project_folder() -> Path:
    """The folder that holds the packages of this process."""
    spec = find_spec("registry")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]
