"""The stage `train`: data -> weights. From scratch, or from the champion when build/<model>/start holds one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core import journal
from registry.versions import learned
from training.stages.tracking import RunDescription, Tracker
from training.workspace import pretrained, progress
from training.workspace.checkpoint import WEIGHTS, Checkpoints, load_weights
from training.workspace.course import FitResult, TrainingListener
from training.workspace.rehearsal import NEW_SHARE, rehearsed
from training.workspace.sources import source_hash
from training.workspace.starting_point import FOLDER, read_start
from training.workspace.workspace import Recipe, Workspace, fingerprint

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from registry.core.media import Case

STEP = "train"
PICTURES = 6


def train(stage: Workspace, *, fresh: bool = False, track: bool = True) -> dict[str, Any]:
    """Trains, or goes on where an interrupted training stopped; the summary, also in build/<model>/train.

    Args:
        fresh: forget checkpoints and begin anew.
        track: False leaves MLflow out (for measuring what tracking costs).

    Raises:
        MissingService: MLflow does not answer; the finished training is kept and the next run only sends it.
        DataError, NotFound, SettingsError, StorageError, VisionloopError.
    """
    folder, name = stage.folder("train"), stage.spec.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder, identity(stage))
    if fresh or not (checkpoints.finished() or _resumable(stage, checkpoints)):
        checkpoints.clear()
    with journal.step(STEP, "Training", name, stage.recipe().max_seconds + 15) as running:
        tracker = Tracker(folder, about(stage), stage.settings.mlflow_address, artifacts(stage))
        if track:
            tracker.start()
        try:
            summary = checkpoints.finished()
            if summary:
                running.note = "the training was finished before; only telling MLflow"
            else:
                summary = _fit(stage, checkpoints, tracker)
        except BaseException as error:
            tracker.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        _queue(tracker, checkpoints, stage)
        if track:
            tracker.close(lambda client, run: _log(client, run, stage, summary))
    return summary


def identity(stage: Workspace) -> str:
    """What makes this training this training: data, parameters, what it starts from, and the code of the stage."""
    start = read_start(stage.folder(FOLDER))
    return fingerprint(stage.spec.name, stage.params, stage.data_hash, start, source_hash(STEP, stage.spec.name))


def about(stage: Workspace) -> RunDescription:
    start = stage.start
    return RunDescription(
        model=stage.spec.name,
        name=f"fine-tune version {start.version}" if start else "train from scratch",
        data=stage.data,
        data_hash=stage.data_hash,
        git_commit=stage.git_commit,
        params={
            **{f"train.{k}": v for k, v in stage.params.items()},
            "start": f"version {start.version}" if start else "scratch",
        },
        tags={"parent": str(start.version)} if start else {},
    )


def artifacts(stage: Workspace) -> Path:
    return stage.settings.var / "mlflow" / "artifacts"


def starting_network(stage: Workspace) -> tuple[Any, pretrained.Origin]:
    """The network before training, and where its weights come from.

    The champion's, with its (pruned) shapes; else random ones, into which pretrained weights are put where there are
    some.

    Raises:
        BundleError: the champion is of another architecture.
        NotFound, BadInput: the weights file named in params.yaml is missing or unreadable.
    """
    from training.workspace.engine import engine_of, hooks_of

    engine, hooks, params = engine_of(stage.spec), hooks_of(stage.spec), stage.params
    if stage.start:
        from registry.versions import bundle

        found = load_weights(stage.start.bundle.path / bundle.WEIGHTS)
        words = f"version {stage.start.version} of {stage.spec.name}"
        if list(stage.start.classes) == list(stage.classes):
            return engine.restore(hooks, params, found), pretrained.Origin(words)
        # Other classes: another head. What a model cannot make fit itself is taken over as far as shapes agree.
        fitting = hooks.inherit(found, stage.start.bundle.manifest.thresholds, params)
        if fitting is not None:
            return engine.restore(hooks, params, fitting), pretrained.Origin(f"{words}; the classes are others")
        network, taken = engine.take_over(engine.build(hooks, params, stage.recipe().seed), found)
        return network, pretrained.Origin(f"{words}, {taken} of {len(found)} tensors: the classes are others")
    network = engine.build(hooks, params, stage.recipe().seed)
    return pretrained.start(stage, engine, hooks, network)


def trained_network(stage: Workspace) -> Any:
    """The network as the stage `train` left it."""
    from training.workspace.engine import engine_of, hooks_of

    weights = load_weights(stage.folder("train") / WEIGHTS)
    return engine_of(stage.spec).restore(hooks_of(stage.spec), stage.params, weights)


def _resumable(stage: Workspace, checkpoints: Checkpoints) -> bool:
    from training.workspace.engine import engine_of

    found = checkpoints.load()
    return found is not None and engine_of(stage.spec).readable(found[1])


def _fit(stage: Workspace, checkpoints: Checkpoints, tracker: Tracker) -> dict[str, Any]:
    from training.workspace.engine import engine_of, hooks_of

    engine = engine_of(stage.spec)
    engine.use_threads(stage.settings.threads)
    stage.split("train"), stage.split("val")
    network, origin = starting_network(stage)
    journal.fact(STEP, f"starts from {origin.words}", stage.spec.name)
    found = checkpoints.load()
    if found:
        journal.fact(STEP, f"goes on after epoch {found[0].epoch}", stage.spec.name)
        for row in found[0].history:
            tracker.row(row)
    began = time.perf_counter()
    with progress.bar(STEP, "training", stage.spec.name) as bar:
        fitted = engine.fit(
            stage.spec,
            hooks_of(stage.spec),
            network,
            _cases(stage),
            {**stage.params, "pretrained": origin.taken > 0},
            _recipe(stage),
            checkpoints,
            TrainingListener(bar, tracker.row),
        )
    summary = {**_summary(stage, fitted, time.perf_counter() - began), "pretrained": origin.words}
    checkpoints.finish(engine.weights(fitted.model), fitted.history, summary)
    journal.fact(STEP, summary["says"], stage.spec.name, history=fitted.history)
    return summary


def _recipe(stage: Workspace) -> Recipe:
    """Where the classes are others than the champion's, its head is new, and there is nothing to average it with."""
    recipe = stage.recipe()
    same = stage.start is not None and list(stage.start.classes) == list(stage.classes)
    return recipe if same else recipe.model_copy(update={"average": 0.0})


def _cases(stage: Workspace) -> list[Case]:
    """What is learned from: where a champion goes on, origins that it has not seen have a share of their own."""
    cases = stage.teaching
    if not stage.start:
        return cases
    known = set(learned.of(stage.start.bundle).origins)
    share = float(stage.params.get("new_share", NEW_SHARE))
    found = rehearsed(cases, known, share)
    if len(found) > len(cases):
        journal.fact(STEP, f"cases of new origins are repeated: {share:.0%} of an epoch", stage.spec.name)
    return found


def _summary(stage: Workspace, fitted: FitResult, seconds: float) -> dict[str, Any]:
    done, metric = fitted.progress, stage.spec.metric
    why = {
        "early": "it stopped improving",
        "time": "the time was up",
        "epochs": "all epochs were done",
    }[done.stopped]
    return {
        "says": f"{metric.title} {done.best_metric:.4f} on validation after epoch {done.best_epoch} of {done.epoch} "
        f"({seconds:.0f} s on {fitted.device}; {why})"
        + (f", then averaged: {share:.0%} champion" if (share := _recipe(stage).average) else ""),
        "epochs": done.epoch,
        "steps": done.step,
        "best_epoch": done.best_epoch,
        f"val_{metric.name}": done.best_metric,
        "stopped": done.stopped,
        "seconds": round(done.elapsed, 2),
        "resumed_at": fitted.resumed_at,
        "device": fitted.device,
        "data_hash": stage.data_hash,
        "git_commit": stage.git_commit,
    }


def _queue(tracker: Tracker, checkpoints: Checkpoints, stage: Workspace) -> None:
    """A training that was finished before has its rows on disk only."""
    from training.workspace.checkpoint import METRICS, read_metrics

    if not tracker.has_rows:
        for row in read_metrics(stage.folder("train") / METRICS):
            tracker.row(row)


def _log(client: MlflowClient, run_id: str, stage: Workspace, summary: dict[str, Any]) -> None:
    """What is logged once, at the end: curves and predictions as pictures."""
    from training.stages import figures
    from training.workspace.checkpoint import METRICS, read_metrics

    folder = stage.folder("train")
    client.set_tag(run_id, "mlflow.note.content", summary["says"])
    client.log_artifact(run_id, str(folder / METRICS), "training")
    curves = figures.curves(read_metrics(folder / METRICS), f"val_{stage.spec.metric.name}", stage.spec.metric.title)
    client.log_figure(run_id, curves, "training/learning-curves.png")
    for name, picture in _pictures(stage).items():
        client.log_image(run_id, picture, artifact_file=f"samples/{name}.png")


def _pictures(stage: Workspace) -> dict[str, Any]:
    """Validation cases with prediction and truth, drawn: RGB arrays by case id."""
    from training.stages import figures
    from training.workspace import scoring
    from training.workspace.engine import engine_of, hooks_of

    hooks = hooks_of(stage.spec)
    session = engine_of(stage.spec).session(hooks, trained_network(stage))
    held = scoring.hold(stage.spec, scoring.spread(stage.split("val"), PICTURES), hooks.preprocessing(stage.params))
    results = scoring.run(stage.spec, session, held, hooks.thresholds(stage.params))
    return {
        one.case.id: figures.pixels(stage.spec.render.picture(one.sample, result, one.truth))
        for one, result in zip(held, results, strict=True)
    }
