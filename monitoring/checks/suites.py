"""The committed suite of each model, in Great Expectations' form: `monitoring/checks/expectations/<model>.json`.

A data check runs this file. `python -m monitoring.checks.suites` writes it from the model's `checks()`; run it when
they change. A test compares the two.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.cases.records import Check
from registry.contract import catalog
from registry.core.errors import DataError, VisionloopError
from registry.core.files import write_file

FOLDER = Path(__file__).with_name("expectations")


def path_of(model: str) -> Path:
    return FOLDER / f"{model}.json"


def body_of(name: str, checks: Sequence[Check]) -> dict[str, Any]:
    """The suite of these checks. `meta` says what a breach means and how to fix it."""
    return {
        "name": name,
        "expectations": [
            {
                "type": check.expectation,
                "kwargs": dict(check.arguments),
                "meta": {
                    "number": number,
                    "says": check.says,
                    "fix": check.fix,
                    "notes": {"format": "string", "content": [check.says.replace("{rows}", "the cases")]},
                },
                "severity": "warning" if check.warning else "critical",
            }
            for number, check in enumerate(checks)
        ],
        "meta": {},
    }


def text_of(model: str) -> str:
    """The text of a model's file."""
    return json.dumps(body_of(model, catalog.get(model).data.checks()), indent=1) + "\n"


def read(model: str) -> dict[str, Any]:
    """The committed suite, or that of the model's `checks()` if there is no file. Raises DataError if it is damaged."""
    path = path_of(model)
    if not path.is_file():
        return body_of(model, catalog.get(model).data.checks())
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        [(one["type"], one["kwargs"], one["meta"]["says"], one["meta"]["fix"]) for one in body["expectations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a suite: {error!r}",
            expected="expectations with type, kwargs and meta (says, fix)",
            fix=f"`python -m monitoring.checks.suites {model}` writes it anew",
        ) from error
    return dict(body)


def main(arguments: Sequence[str]) -> int:
    try:
        for model in arguments or catalog.names():
            print(write_file(path_of(model), text_of(model)))
    except VisionloopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
