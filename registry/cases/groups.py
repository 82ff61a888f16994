"""Groups: cases of one patient, camera or sequence, which stay in one split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from scipy.cluster.hierarchy import DisjointSet

from registry.core.errors import DataError

SHOWN = 5


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Raises DataError: the pattern is not a regular expression."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"--group-pattern {pattern!r} is not a regular expression: {error}",
            expected="e.g. '^([a-z]+)_', which groups anna_01.png and anna_02.png",
            fix="correct the pattern; nothing was imported",
        ) from error


def named(paths: Mapping[str, str], pattern: str) -> tuple[dict[str, str], list[str]]:
    """Finds the group of each case in its file's name.

    Args:
        paths: case -> its file's path in the source, with forward slashes.
        pattern: a regular expression, searched in the file's name, or in its path if it contains a `/`. Its first
            pair of parentheses holds the group; without parentheses the whole match is the group.

    Returns:
        case -> group, without cases that do not match; and the notes.

    Raises:
        DataError: the pattern is not a regular expression, matches nothing, or puts all cases into one group.
    """
    compiled, found = compile_pattern(pattern), {}
    for case, path in paths.items():
        match = compiled.search(path if "/" in pattern else PurePosixPath(path).name)
        group = (match[1] if compiled.groups else match[0]) if match else None
        if group:
            found[case] = group
    names = ", ".join([path if "/" in pattern else PurePosixPath(path).name for path in paths.values()][:SHOWN])
    if not found:
        raise DataError(
            f"--group-pattern {pattern!r} matches none of {len(paths)} names: {names}",
            expected="a pattern whose parentheses hold the group, e.g. '^([a-z]+)_' for anna_01.png",
            fix="correct the pattern; with a / in it, it is searched in the whole path; nothing was imported",
        )
    counts = Counter(found.values())
    if len(counts) == 1 and len(found) == len(paths):
        raise DataError(
            f"--group-pattern {pattern!r} puts all {len(paths)} cases into one group, {next(iter(counts))!r}",
            expected="three groups or more: one at least in train, in val and in test",
            fix="correct the pattern; nothing was imported",
        )
    notes = [f"{len(counts)} groups by {pattern!r}, e.g. {', '.join(sorted(counts)[:SHOWN])}"]
    if max(counts.values()) == 1:
        notes.append("no group has two cases: the pattern keeps nothing together")
    if alone := len(paths) - len(found):
        notes.append(f"{alone} names do not match the pattern: each is a group of its own")
    return found, notes


def parts_of(splits: Sequence[str], groups: Sequence[str]) -> list[int]:
    """The number of splits that each row's group is in; 1 for a row without a group."""
    found: dict[str, set[str]] = {}
    for split, group in zip(splits, groups, strict=True):
        found.setdefault(group, set()).add(split)
    return [len(found[group]) if group else 1 for group in groups]


def units(cases: Sequence[str], groups: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Joins groups and look-alikes: case -> the first case, by name, of all that must stay together with it.

    Args:
        groups: case -> group.
        pairs: cases that look alike.
    """
    joined = DisjointSet(cases)
    first: dict[str, str] = {}
    for case in cases:
        if group := groups.get(case):
            joined.merge(case, first.setdefault(group, case))
    for one, other in pairs:
        joined.merge(one, other)
    return {case: unit for members in joined.subsets() for unit in [min(members)] for case in members}
