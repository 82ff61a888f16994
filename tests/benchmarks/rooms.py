"""The rooms of this project in numbers: `python -m tests.benchmarks.rooms` prints what docs/architecture.md shows."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import grimp

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("registry", "monitoring", "training", "serving", "flows")
ROOM_LINES, FILE_LINES, FUNCTION_LINES = 1800, 300, 50


def main() -> None:
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _sources()}
    rooms: dict[str, list[int]] = defaultdict(list)
    for path, lines in files.items():
        rooms[_room(path)].append(lines)
    print("| room | files | lines |\n|---|---|---|")
    for room, lines_of in sorted(rooms.items()):
        print(f"| `{room}` | {len(lines_of)} | {sum(lines_of)} |")
    print(f"| all | {len(files)} | {sum(files.values())} |\n")
    print(f"circles between modules: {_circles()}")
    print(f"rooms over {ROOM_LINES} lines: {_names(r for r, n in rooms.items() if sum(n) > ROOM_LINES)}")
    long = sorted((-lines, str(path.relative_to(PROJECT))) for path, lines in files.items() if lines > FILE_LINES)
    print(f"files over {FILE_LINES} lines: {_names(f'{name} ({-lines})' for lines, name in long)}")
    functions = sorted(found for path in files for found in _functions(path) if -found[0] > FUNCTION_LINES)
    print(f"functions over {FUNCTION_LINES} lines: {_names(f'{name} ({-lines})' for lines, name in functions)}")


def _sources() -> list[Path]:
    return [p for package in PACKAGES for p in sorted((PROJECT / package).rglob("*.py")) if "migrations" not in p.parts]


def _room(path: Path) -> str:
    parts = path.relative_to(PROJECT).parts[:-1]
    return "/".join(parts[:3] if parts[:2] == ("registry", "models") else parts[:2])


def _names(found: object) -> str:
    return ", ".join(found) or "none"  # type: ignore[call-overload]


def _circles() -> int:
    """How many modules can reach themselves by imports, those inside functions counted."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    return sum(module in _reached(imports, module) for module in imports)


def _reached(imports: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(imports[module])
    return seen


def _functions(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (node.lineno - (node.end_lineno or 0) - 1, f"{path.relative_to(PROJECT)}:{node.name}")
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


if __name__ == "__main__":
    main()
