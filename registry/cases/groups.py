"""Groups: cases of one patient, camera or sequence, which stay in one split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

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
    """Finds the group of each case in its file's name, and writes notes.

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
    """In how many splits each row's group is; 1 for a row without a group."""
    found: dict[str, set[str]] = {}
    for split, group in zip(splits, groups, strict=True):
        found.setdefault(group, set()).add(split)
    return [len(found[group]) if group else 1 for group in groups]


def units(cases: Sequence[str], groups: Mapping[str, str], leader: Mapping[str, str]) -> dict[str, str]:
    """Joins groups and look-alikes: case -> the case that represents everything that must stay together with it.

    Args:
        groups: case -> group.
        leader: case -> the representative of its look-alikes.
    """
    above = {case: case for case in cases}

    def top(case: str) -> str:
        while above[case] != case:
            case = above[case]
        return case

    first: dict[str, str] = {}
    for case in cases:
        links = [leader.get(case, case)]
        if group := groups.get(case):
            links.append(first.setdefault(group, case))
        for other in links:
            a, b = top(case), top(other)
            above[max(a, b)] = min(a, b)
    return {case: top(case) for case in cases}
