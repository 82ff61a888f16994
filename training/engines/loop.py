"""The training loop, for every framework: epochs, validation as served, the best epoch, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from registry.contract.hooks import Hooks
from registry.contract.spec import ModelSpec
from registry.core.media import Case
from training.workspace import scoring
from training.workspace.checkpoint import Arrays, Checkpoints
from training.workspace.course import FitResult, TrainingCourse, TrainingListener
from training.workspace.engine import Engine, Network, Trainer
from training.workspace.parameters import Recipe
from training.workspace.rehearsal import averaged


def fit(
    engine: Engine[Any],
    spec: ModelSpec,
    hooks: Hooks,
    network: Network,
    cases: Sequence[Case],
    params: Mapping[str, Any],
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    listener: TrainingListener | None = None,
) -> FitResult:
    """Trains on the `train` cases and keeps the epoch that is best on the `val` cases. Goes on from the checkpoint if
    there is one of this training; the result is then that of a training that was never interrupted.

    Raises:
        VisionloopError: the loss is not finite.
        StorageError: the checkpoint could not be written.
    """
    trainer = engine.trainer(hooks, network, [case for case in cases if case.split == "train"], params, recipe)
    validate = scoring.validator(
        spec, [case for case in cases if case.split == "val"], hooks.preprocessing(params), hooks.thresholds(params)
    )
    steps = max(1, trainer.examples // recipe.batch)  # of an epoch; the examples left over come in another one
    course = TrainingCourse(spec, recipe, steps, checkpoints, listener)
    before = _copy(engine.weights(network)) if recipe.average else {}
    best: Arrays = {}
    state = course.resume()
    if state is not None:
        trainer.load(_unprefixed(state, "state/"))
        best = _unprefixed(state, "best/")
    resumed_at = course.progress.epoch
    course.begin()
    while course.goes_on():
        for batch in trainer.batches(course.progress.epoch):
            course.stepped(trainer.step(batch, course.rate))
        if course.end_epoch(validate(trainer.predict)):
            best = _copy(engine.weights(network))
        course.save(partial(_state, trainer, best))
    weights = averaged(best, before, recipe.average) if before else best
    return FitResult(trainer.finish(weights), course.progress, trainer.device, resumed_at)


def _state(trainer: Trainer, best: Arrays) -> Arrays:
    return {f"state/{k}": v for k, v in trainer.state().items()} | {f"best/{k}": v for k, v in best.items()}


def _copy(weights: Arrays) -> Arrays:
    return {name: np.array(value) for name, value in weights.items()}


def _unprefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
