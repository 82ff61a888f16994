"""Scores a version without training: on the test cases of its data set, or on other labelled files. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.core import archives
from registry.core.errors import DataError
from registry.core.settings import settings

if TYPE_CHECKING:
    from registry.core.media import Case
    from registry.versions.mlflow_registry import Version
    from training.workspace.scoring import Evaluation

BOOTSTRAP = 1000
"""Samples behind the 95 % interval."""
_AS_THEY_ARE = {"val_share": 0.0, "test_share": 0.0, "look_alikes": "keep"}


def evaluate(
    version: Version, source: Path | None, on_progress: Callable[[int, int, str], None] = lambda done, total, note: None
) -> Evaluation:
    """Runs a version on cases exactly as it serves.

    Args:
        source: a folder or a zip in one of the layouts of docs/data.md, all of whose labelled files are scored. None:
            the test cases of data/<model>.
        on_progress: gets cases done, all cases, and "".

    Raises:
        DataError: there are no labelled cases.
        MissingService: MLflow does not answer.
    """
    from registry.versions.mlflow_registry import Versions
    from registry.versions.predictor import Predictor
    from training.workspace.scoring import evaluate as score

    part = catalog.get(version.model).data
    if source is not None:
        archives.check_source(source)
    predictor = Predictor(Versions().fetch(version))
    if source is None:
        return score(predictor, _test_cases(version.model), BOOTSTRAP, on_progress)
    with TemporaryDirectory(prefix="visionloop-evaluate-") as folder:
        part.import_from(source, Path(folder), _AS_THEY_ARE)
        return score(predictor, part.cases(Path(folder)), BOOTSTRAP, on_progress)


def _test_cases(model: str) -> list[Case]:
    root = settings().data / model
    cases = catalog.get(model).data.cases(root) if root.is_dir() else []
    held = [case for case in cases if case.split == "test"]
    if not held:
        raise DataError(
            f"data/{model} has no test cases",
            expected="labelled cases that no training has seen",
            fix=f"`visionloop data hold-out {model}` sets some apart; or name a folder of labelled files",
        )
    return held


def worst(found: Evaluation, count: int) -> list[dict[str, Any]]:
    """The cases with the least scores: `case` and `score`."""
    rows = found.per_case.nsmallest(count, "score")[["case", "score"]]
    return [{"case": str(case), "score": float(score)} for case, score in rows.itertuples(index=False)]
