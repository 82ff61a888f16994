"""The stage `train`: data -> weights. From scratch, or from the champion when build/<model>/start holds one."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from registry.core import journal
from registry.versions import learned
from training.engines import loop
from training.engines.select import engine_of, hooks_of
from training.stages import figures
from training.stages.networks import starting_network, trained_network
from training.stages.runs import run_description
from training.stages.tracking import Tracker
from training.workspace import progress, scoring
from training.workspace.checkpoint import METRICS, Checkpoints, Progress, read_metrics
from training.workspace.course import FitResult, TrainingListener
from training.workspace.rehearsal import NEW_SHARE, with_new_cases_repeated
from training.workspace.sources import source_hash
from training.workspace.workspace import START, Recipe, Workspace, read_start

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

    from registry.core.media import Case

STEP = "train"
PICTURES = 6
AROUND_S = 15
"""What a training takes beside its epochs: loading, the last checkpoint, MLflow."""


def train(workspace: Workspace, *, fresh: bool = False, track: bool = True) -> dict[str, Any]:
    """Trains, or goes on where an interrupted training stopped; the summary, also in build/<model>/train.

    Args:
        fresh: forget checkpoints and begin anew.
        track: False leaves MLflow out (for measuring what tracking costs).

    Raises:
        MissingService: MLflow does not answer; the finished training is kept and the next run only sends it.
        DataError, NotFound, SettingsError, StorageError, VisionloopError.
    """
    folder, name = workspace.folder("train"), workspace.spec.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder, identity(workspace))
    if fresh or not (checkpoints.finished() or checkpoints.is_ours()):
        checkpoints.clear()
    with journal.step(STEP, "Training", name, limit_s=workspace.recipe().max_seconds + AROUND_S) as running:
        tracker = Tracker(folder, run_description(workspace), workspace.settings.mlflow_address)
        if track:
            tracker.start()
        try:
            summary = checkpoints.finished()
            if summary:
                running.skip("the training was finished before; only telling MLflow")
            else:
                summary = _fit(workspace, checkpoints, tracker)
        except BaseException as error:
            tracker.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        _queue(tracker, folder)
        if track:
            tracker.close(lambda client, run: _log(client, run, workspace, summary))
    return summary


def identity(workspace: Workspace) -> str:
    """Hash of all that determines a training: data, parameters, starting point, and the code of the stage."""
    name, start = workspace.spec.name, read_start(workspace.folder(START))
    parts = (name, workspace.params, workspace.data_hash, start, source_hash(STEP, name))
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _fit(workspace: Workspace, checkpoints: Checkpoints, tracker: Tracker) -> dict[str, Any]:
    engine = engine_of(workspace.spec)
    engine.use_threads(workspace.settings.threads)
    workspace.split("train"), workspace.split("val")
    network, origin = starting_network(workspace)
    journal.fact(STEP, f"starts from {origin.words}", workspace.spec.name)

    def resumed(done: Progress) -> None:
        journal.fact(STEP, f"goes on after epoch {done.epoch}", workspace.spec.name)
        for row in done.history:
            tracker.row(row)

    began = time.perf_counter()
    with progress.bar(STEP, "training", workspace.spec.name) as bar:
        fitted = loop.fit(
            engine,
            workspace.spec,
            hooks_of(workspace.spec),
            network,
            _cases(workspace),
            {**workspace.params, "pretrained": origin.taken > 0},
            _recipe(workspace),
            checkpoints,
            TrainingListener(resumed, bar, tracker.row),
        )
    summary = {**_summary(workspace, fitted, time.perf_counter() - began), "pretrained": origin.words}
    checkpoints.finish(engine.weights(fitted.model), fitted.history, summary)
    journal.fact(STEP, summary["says"], workspace.spec.name, history=fitted.history)
    return summary


def _recipe(workspace: Workspace) -> Recipe:
    """The recipe. Without a champion of the same classes there is nothing to average with."""
    recipe = workspace.recipe()
    same = workspace.start is not None and list(workspace.start.classes) == list(workspace.classes)
    return recipe if same else recipe.model_copy(update={"average": 0.0})


def _cases(workspace: Workspace) -> list[Case]:
    """The cases to train on. If training starts from a champion, cases of origins that it has not seen are repeated."""
    cases = workspace.teaching
    if not workspace.start:
        return cases
    known = set(learned.of(workspace.start.bundle).origins)
    share = float(workspace.params.get("new_share", NEW_SHARE))
    found = with_new_cases_repeated(cases, known, share)
    if len(found) > len(cases):
        journal.fact(STEP, f"cases of new origins are repeated: {share:.0%} of an epoch", workspace.spec.name)
    return found


def _summary(workspace: Workspace, fitted: FitResult, seconds: float) -> dict[str, Any]:
    done, metric = fitted.progress, workspace.spec.metric
    why = {
        "early": "it stopped improving",
        "time": "the time was up",
        "epochs": "all epochs were done",
    }[done.stopped]
    return {
        "says": f"{metric.title} {done.best_metric:.4f} on validation after epoch {done.best_epoch} of {done.epoch} "
        f"({seconds:.0f} s on {fitted.device}; {why})"
        + (f", then averaged: {share:.0%} champion" if (share := _recipe(workspace).average) else ""),
        "epochs": done.epoch,
        "steps": done.step,
        "best_epoch": done.best_epoch,
        f"val_{metric.name}": done.best_metric,
        "stopped": done.stopped,
        "seconds": round(done.elapsed, 2),
        "resumed_at": fitted.resumed_at,
        "device": fitted.device,
        "data_hash": workspace.data_hash,
        "git_commit": workspace.git_commit,
    }


def _queue(tracker: Tracker, folder: Path) -> None:
    """Queues the rows of a training that an earlier run finished."""
    if not tracker.has_rows:
        for row in read_metrics(folder / METRICS):
            tracker.row(row)


def _log(client: MlflowClient, run_id: str, workspace: Workspace, summary: dict[str, Any]) -> None:
    """Logs what is known at the end: summary, metrics file, curves, and predictions as pictures."""
    folder = workspace.folder("train")
    client.set_tag(run_id, "mlflow.note.content", summary["says"])
    client.log_artifact(run_id, str(folder / METRICS), "training")
    curves = figures.curves(read_metrics(folder / METRICS), workspace.spec.metric)
    client.log_figure(run_id, curves, "training/learning-curves.png")
    for name, picture in _pictures(workspace).items():
        client.log_image(run_id, picture, artifact_file=f"samples/{name}.png")


def _pictures(workspace: Workspace) -> dict[str, Any]:
    """Validation cases with prediction and truth, drawn: RGB arrays by case id."""
    spec, hooks = workspace.spec, hooks_of(workspace.spec)
    session = engine_of(spec).session(hooks, trained_network(workspace))
    cases = scoring.representative_cases(workspace.split("val"), PICTURES)
    held = scoring.PreparedCases(spec, cases, hooks.preprocessing(workspace.params))
    results = scoring.results_of(spec, session, held, hooks.thresholds(workspace.params))
    return {
        case.id: figures.pixels(spec.render.picture(scoring.decoded(spec, case), result, truth))
        for case, result, truth in zip(cases, results, held.truths, strict=True)
    }
