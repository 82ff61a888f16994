"""The stage `train`: data -> weights. From scratch, or from the champion when build/<model>/start holds one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import catalog, journal
from training import progress
from training.checkpoint import WEIGHTS, Checkpoints
from training.stage import Stage, fingerprint
from training.tracking import About, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch import nn

    from training.engine_torch import Fitted

STEP = "train"
PICTURES = 6


def train(stage: Stage, *, fresh: bool = False, track: bool = True) -> dict[str, Any]:
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
    if fresh or not (checkpoints.finished() or _resumable(checkpoints)):
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


def identity(stage: Stage) -> str:
    """What makes this training this training: data, parameters, start and code."""
    package, model = Path(__file__).parent, catalog.FOLDER / stage.spec.name
    files = [package / "engine_torch.py", package / "train.py", *(model / f for f in ("network.py", "inference.py"))]
    start = stage.start.bundle.digest if stage.start else ""
    return fingerprint(stage.spec.name, stage.params, stage.data_hash, start, files=files)


def about(stage: Stage) -> About:
    start = stage.start
    return About(
        model=stage.spec.name,
        name=f"fine-tune version {start.version}" if start else "train from scratch",
        data=stage.data,
        data_hash=stage.data_hash,
        git_commit=stage.git_commit,
        params={
            **{f"train.{k}": v for k, v in stage.params.items()},
            **{f"compress.{k}": v for k, v in stage.sections["compress"].items()},
            "start": f"version {start.version}" if start else "scratch",
        },
        tags={"parent": str(start.version)} if start else {},
    )


def artifacts(stage: Stage) -> Path:
    return stage.settings.var / "mlflow" / "artifacts"


def starting_network(stage: Stage) -> nn.Module:
    """The network before training: random, or the champion's with its (pruned) shapes and weights."""
    from training import engine_torch, prune

    model = engine_torch.build(stage.spec.network, stage.params, stage.recipe().seed)
    if stage.start:
        from registry import bundle
        from training.checkpoint import load_weights

        prune.reshape_like(model, load_weights(stage.start.bundle.path / bundle.WEIGHTS))
    return model


def _resumable(checkpoints: Checkpoints) -> bool:
    return checkpoints.load() is not None


def _fit(stage: Stage, checkpoints: Checkpoints, tracker: Tracker) -> dict[str, Any]:
    from training import engine_torch

    engine_torch.use_threads(stage.settings.threads)
    stage.split("train"), stage.split("val")
    found = checkpoints.load()
    if found:
        journal.fact(STEP, f"goes on after epoch {found[0].epoch}", stage.spec.name)
        for row in found[0].history:
            tracker.row(row)
    began = time.perf_counter()
    with progress.bar(STEP, "training", stage.spec.name) as bar:
        fitted = engine_torch.fit(
            stage.spec,
            starting_network(stage),
            stage.cases,
            stage.params,
            stage.recipe(),
            checkpoints,
            engine_torch.Watcher(bar, tracker.row),
        )
    summary = _summary(stage, fitted, time.perf_counter() - began)
    checkpoints.finish(fitted.model.state_dict(), fitted.history, summary)
    journal.fact(STEP, summary["says"], stage.spec.name, history=fitted.history)
    return summary


def _summary(stage: Stage, fitted: Fitted, seconds: float) -> dict[str, Any]:
    done, metric = fitted.progress, stage.spec.metric
    why = {
        "early": "it stopped improving",
        "time": "the time was up",
        "epochs": "all epochs were done",
    }[done.stopped]
    return {
        "says": f"{metric.title} {done.best_metric:.4f} on validation after epoch {done.best_epoch} of {done.epoch} "
        f"({seconds:.0f} s on {fitted.device}; {why})",
        "epochs": done.epoch,
        "steps": done.step,
        "best_epoch": done.best_epoch,
        f"val_{metric.name}": done.best_metric,
        "stopped": done.stopped,
        "seconds": round(done.elapsed, 2),
        "resumed_at": fitted.resumed_at,
        "device": fitted.device,
    }


def _queue(tracker: Tracker, checkpoints: Checkpoints, stage: Stage) -> None:
    """A training that was finished before has its rows on disk only."""
    from training.checkpoint import METRICS, read_metrics

    if not tracker.has_rows:
        for row in read_metrics(stage.folder("train") / METRICS):
            tracker.row(row)


def _log(client: MlflowClient, run_id: str, stage: Stage, summary: dict[str, Any]) -> None:
    """What is logged once, at the end: curves and predictions as pictures."""
    from training import figures
    from training.checkpoint import METRICS, read_metrics

    folder = stage.folder("train")
    client.set_tag(run_id, "mlflow.note.content", summary["says"])
    client.log_artifact(run_id, str(folder / METRICS), "training")
    curves = figures.curves(read_metrics(folder / METRICS), f"val_{stage.spec.metric.name}", stage.spec.metric.title)
    client.log_figure(run_id, curves, "training/learning-curves.png")
    for name, picture in _pictures(stage).items():
        client.log_image(run_id, picture, artifact_file=f"samples/{name}.png")


def _pictures(stage: Stage) -> dict[str, Any]:
    """Validation cases with prediction and truth, drawn: RGB arrays by case id."""
    from training import engine_torch, evaluate, figures, prune
    from training.checkpoint import load_weights

    network = stage.spec.network
    model = starting_network(stage)
    prune.reshape_like(model, load_weights(stage.folder("train") / WEIGHTS))
    session = engine_torch.TorchSession(model, network.OUTPUTS)
    held = evaluate.hold(stage.spec, evaluate.spread(stage.split("val"), PICTURES), network.preprocessing(stage.params))
    results = evaluate.run(stage.spec, session, held, network.thresholds(stage.params))
    return {
        one.case.id: figures.pixels(stage.spec.render.picture(one.sample, result, one.truth))
        for one, result in zip(held, results, strict=True)
    }
