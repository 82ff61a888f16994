"""Exact packages for an image: what is needed, and what that needs, with the hashes of requirements.lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from registry.core.errors import MissingService, Refused


def locked(names: Iterable[str], lock: Path, alone: Collection[str] = ()) -> str:
    """A requirements file for `pip install --require-hashes --no-deps`, sorted by name.

    What a package needs is read from what is installed here, so this asks no index. It is for this Python and platform.

    Args:
        names: distributions, perhaps with a version (`numpy==2.4.6`) or extras.
        alone: those that go without what they need.

    Raises:
        MissingService: there is no lock, or it lacks a package.
        Refused: another version is installed than the lock has.
    """
    pins = _pins(lock)
    lines = []
    for name, version in sorted(_with_needs(names, alone).items()):
        if name not in pins:
            raise MissingService(
                f"{lock.name} lacks {name}", expected="every package that is installed", fix="`make lock`"
            )
        pinned, hashes = pins[name]
        if pinned != version:
            raise Refused(
                f"{name} {version} is installed, and {lock.name} has {pinned}",
                expected="the same version, whose hashes the image checks", fix="`make setup`",
            )  # fmt: skip
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash={one}" for one in hashes)]))
    return "\n".join(lines) + "\n"


def _pins(lock: Path) -> Mapping[str, tuple[str, list[str]]]:
    """Name -> version and hashes, of the lines of a lock that are for this Python and platform."""
    try:
        text = lock.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingService(f"{lock} is missing", expected="a checkout of visionloop", fix="run it there") from error
    found = {}
    for block in re.split(r"\n(?=\S)", text.replace("\\\n", "\n")):
        head, *rest = (line.strip() for line in block.splitlines() if line.strip()) if block.strip() else ("",)
        if not head or head.startswith("#"):
            continue
        one = Requirement(head)
        if one.marker is None or one.marker.evaluate():
            version = next(iter(one.specifier)).version
            found[str(canonicalize_name(one.name))] = version, [line.removeprefix("--hash=") for line in rest]
    return found


def _with_needs(names: Iterable[str], alone: Collection[str]) -> dict[str, str]:
    """Name -> installed version of the packages and of all that they need here."""
    found: dict[str, str] = {}
    waiting, seen = [Requirement(one) for one in names], set()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(wanted.name)
        except PackageNotFoundError as error:
            raise MissingService(f"{wanted.name} is not installed", fix="`make setup`") from error
        found[str(key[0])] = installed.version.partition("+")[0]
        if key[0] in alone:
            continue
        needs = map(Requirement, installed.requires or ())
        extras = wanted.extras or {""}
        waiting += [one for one in needs if not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras)]
    return found
