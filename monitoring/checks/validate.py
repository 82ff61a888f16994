"""Checks a data set with Great Expectations before anything is trained on it: `python -m monitoring.checks MODEL`.

This is the pipeline's first stage. It writes the data docs, and `build/<model>/validation/result.json`: the same bytes
for the same data (no times, no ids), so that DVC sees no change. If the data set fails, it also prints which cases
break which rule and how to fix them, and exits with 5. The gate reads the result.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitoring.checks import suites
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import DataError, VisionloopError
from registry.core.files import new_folder
from registry.core.settings import settings
from registry.datasets.hashing import dvc_hash

if TYPE_CHECKING:
    import pandas as pd

STEP = "validate"
SHOWN_ROWS = 12
SHOWN_PICTURES = 6
MAX_DRAWN = 64_000_000
"""Inputs of more pixels or voxels are not drawn."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check. `cases` are those that break it; empty for a rule about the whole table."""

    rule: str
    column: str
    passed: bool
    cases: tuple[str, ...]
    says: str
    fix: str
    warning: bool = False


@dataclass(frozen=True)
class Validation:
    """The results of all checks. `profile` has each column's range, or its values with their counts."""

    model: str
    cases: int
    outcomes: tuple[Outcome, ...]
    profile: Mapping[str, Any]
    docs: Path

    @property
    def breaches(self) -> list[Outcome]:
        """Failed checks that stop a training."""
        return [outcome for outcome in self.outcomes if not outcome.passed and not outcome.warning]

    @property
    def warnings(self) -> list[Outcome]:
        """Failed checks that are only reported."""
        return [outcome for outcome in self.outcomes if not outcome.passed and outcome.warning]

    def to_json(self, data_hash: str) -> str:
        """Deterministic: the same data gives the same bytes, wherever and whenever it runs.

        `data_hash`: of the data set that was checked, as `registry.datasets.hashing.dvc_hash` gives it.
        """
        body = {
            "data_hash": data_hash,
            "model": self.model,
            "valid": not self.breaches,
            "cases": self.cases,
            "checks": [asdict(outcome) for outcome in self.outcomes],
            "profile": self.profile,
        }
        return json.dumps(body, indent=2, sort_keys=True) + "\n"


def validate(model: str, root: Path | None = None) -> Validation:
    """Inspects the data set at `root` (default: `data/<model>`), checks the table and writes the data docs.

    Raises:
        DataError: there is no data set there, or it has no cases.
    """
    part, folder = catalog.get(model).data, root or settings().data / model
    drawn = f"`visionloop data synth {model}` makes the starter data, " if part.has_starter else ""
    fix = f"{drawn}`visionloop data import {model} PATH` takes yours"
    if not folder.is_dir():
        raise DataError(f"there is no data set in {folder}", expected="a data set", fix=fix)
    table = part.inspect(folder)
    if table.empty:
        raise DataError(f"the data set in {folder} holds no cases", expected="at least one", fix=fix)
    outcomes, docs = run_checks(model, table, suites.read(model), lambda breaches: _pictures(model, folder, breaches))
    return Validation(model, len(table), tuple(outcomes), _profile(table), docs)


def explain(validation: Validation) -> DataError:
    """The error for a data set that breaks rules: every rule, its cases and how to fix it."""
    failed, checks = len(validation.breaches), len(validation.outcomes)
    lines = [f"the data set of {validation.model} ({validation.cases} cases) fails {failed} of {checks} checks"]
    lines += [f"  - {outcome.says}\n    fix: {outcome.fix}" for outcome in validation.breaches]
    return DataError(
        "\n".join(lines),
        expected="data that can be trained on; nothing was trained",
        fix=f"fix or remove those cases and run it again; the whole table is in {validation.docs}",
    )


def run_checks(
    model: str,
    table: pd.DataFrame,
    suite: Mapping[str, Any],
    pictures: Callable[[Sequence[Outcome]], list[dict[str, bytes]]] | None = None,
) -> tuple[list[Outcome], Path]:
    """Runs a suite over the table with a checkpoint whose action writes the data docs."""
    from monitoring.checks import data_docs

    settings().apply_environment()  # before the import: it reads at import whether it may call home
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="great_expectations")
    data_docs.forget_old(model)
    found = data_docs.run_checkpoint(model, table, suite)
    by_number = {result.expectation_config.meta["number"]: result for result in found.results}
    numbered = [{**one, "meta": {"number": n, **one["meta"]}} for n, one in enumerate(suite["expectations"])]
    outcomes = [_outcome(one, by_number[one["meta"]["number"]]) for one in numbered]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    seen = pictures(failed) if pictures else [{} for _ in failed]
    problems = [data_docs.Problem(one.says, one.fix, them) for one, them in zip(failed, seen, strict=True)]
    return outcomes, data_docs.publish(model, found, problems)


def _pictures(model: str, root: Path, breaches: Sequence[Outcome]) -> list[dict[str, bytes]]:
    """For each breach, small JPEGs of its first cases with their labels; cases that cannot be drawn are left out."""
    from monitoring.checks import data_docs

    spec = catalog.get(model)
    known = {case.id: case for case in spec.data.cases(root)} if breaches else {}

    def shown(name: str) -> bytes | None:
        case = known.get(name)
        if case is None:
            return None
        with suppress(Exception):  # a broken input, or a label that does not fit: the message says so already
            sample = spec.inference.decode(case.input.read_bytes(), MAX_DRAWN)
            with suppress(Exception):
                return data_docs.thumbnail(spec.render.picture(sample, None, spec.score.truth(case.truth)))
            return data_docs.thumbnail(spec.render.picture(sample))
        return None

    found = []
    for breach in breaches:
        seen = {name: shown(name) for name in breach.cases[:SHOWN_PICTURES]}
        found.append({name: jpeg for name, jpeg in seen.items() if jpeg is not None})
    return found


def _outcome(one: Mapping[str, Any], result: Any) -> Outcome:
    arguments, meta = one["kwargs"], one["meta"]
    column = arguments.get("column") or ", ".join(arguments.get(key, "") for key in ("column_A", "column_B"))
    details = dict(result.result or {})
    passed = bool(result.success) or _has_no_values(one["type"], details)
    cases = tuple(sorted({str(row["case"]) for row in details.get("unexpected_index_list") or []}))
    says, warning = meta["says"], one.get("severity") == "warning"
    broken = says.replace("{rows}", _shorten(cases) or "the data set")
    text = says.removeprefix("{rows}: ").replace("{rows}", "a case") if passed else broken
    if not passed and not details:
        text = f"{text} (it could not be checked: {_exception(result)})"
    return Outcome(one["type"], column, passed, cases, text, meta["fix"], warning)


def _has_no_values(kind: str, details: Mapping[str, Any]) -> bool:
    """Whether a rule about a whole column found no value. Another rule reports that."""
    if "observed_value" not in details:
        return False
    observed = details["observed_value"]
    if kind == "expect_column_max_to_be_between":
        return observed is None or math.isnan(observed)
    return kind == "expect_column_unique_value_count_to_be_between" and observed == 0


def _shorten(cases: Sequence[str]) -> str:
    more = len(cases) - SHOWN_ROWS
    return ", ".join(cases[:SHOWN_ROWS]) + (f" and {more} more" if more > 0 else "")


def _exception(result: Any) -> str:
    info = dict(result.exception_info or {})
    nested = [value for value in info.values() if isinstance(value, Mapping)]
    messages = [str(entry.get("exception_message")) for entry in (info, *nested) if entry.get("exception_message")]
    return messages[0].splitlines()[0] if messages else "no reason given"


def _profile(table: pd.DataFrame) -> dict[str, Any]:
    import pandas as pd

    profile: dict[str, Any] = {}
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            counts = column.astype(str).value_counts()
            if len(counts) <= 16:
                profile[name] = {str(value): int(count) for value, count in sorted(counts.items())}
            else:
                profile[name] = {"distinct": len(counts)}
            continue
        numbers = column.astype(float).dropna()
        numbers = numbers[numbers.map(math.isfinite)]
        if len(numbers):
            described = {"min": numbers.min(), "median": numbers.median(), "max": numbers.max()}
            profile[name] = {key: float(f"{value:.6g}") for key, value in described.items()}
    return profile


def main(arguments: Sequence[str]) -> int:
    """The stage. Returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m monitoring.checks MODEL", file=sys.stderr)
        return 2
    model = arguments[0]
    try:
        with journal.step(STEP, "Check the data", model, usually_s=8):
            validation = validate(model)
            data_hash = dvc_hash(settings().data / model)
            with new_folder(settings().build / model / "validation") as out:
                (out / "result.json").write_text(validation.to_json(data_hash), encoding="utf-8")
            if validation.breaches:
                for outcome in validation.breaches:
                    journal.fact(STEP, outcome.says, model, fix=outcome.fix, cases=outcome.cases)
                raise explain(validation)
            for outcome in validation.warnings:
                journal.fact(STEP, f"to look at: {outcome.says}", model, fix=outcome.fix, cases=outcome.cases)
            text = f"{validation.cases} cases pass {len(validation.outcomes)} checks"
            docs = str(validation.docs.relative_to(settings().var))
            journal.fact(STEP, text, model, link=docs, label="the data docs")
            print(f"{model}: {text}; data docs: {validation.docs}")
    except VisionloopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
