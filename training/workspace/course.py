"""Plans a training: how many epochs, which learning rate, when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from registry.contract.spec import ModelSpec
from registry.core.errors import VisionloopError
from training.workspace.checkpoint import Arrays, Checkpoints, History, Progress
from training.workspace.parameters import Recipe

LAST_RATE = 0.02  # share of the learning rate that is left at the end
MEASURED_STEPS = 6  # before the plan is first checked against the clock, because the first steps are slow
VALIDATION = 1.15  # time of an epoch with its validation / without: a first guess
BETTER_BY = 1e-4  # smaller gains are noise and do not count for early stopping


@dataclass
class FitResult:
    """The result of a training. `model` has the weights of the best epoch, on the CPU, ready for inference."""

    model: Any
    progress: Progress
    device: str
    resumed_at: int

    @property
    def history(self) -> History:
        return self.progress.history


@dataclass(frozen=True)
class TrainingListener:
    """Callbacks of a training: `resumed(progress)` if it goes on from a checkpoint, `step(done, total, note)`
    after each step, `epoch(row)` after each epoch, when its checkpoint is written."""

    resumed: Callable[[Progress], None] = lambda progress: None
    step: Callable[[int, int, str], None] = lambda done, total, note: None
    epoch: Callable[[dict[str, float]], None] = lambda row: None


def learning_rate(done: float, recipe: Recipe) -> float:
    """The learning rate when the share `done` of the steps is done: linear warm-up, then half a cosine."""
    if done < recipe.warm_up:
        return recipe.learning_rate * (0.05 + 0.95 * done / recipe.warm_up)
    fall = (min(done, 1.0) - recipe.warm_up) / (1 - recipe.warm_up)
    return recipe.learning_rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))


class TrainingCourse:
    """One training: `recipe.epochs` epochs of `steps` steps, fewer when they would not fit into `recipe.max_seconds`
    (the learning rate then falls sooner) or when validation stops improving.

    The loop: `resume`; `begin`; while `goes_on`: for each step `rate`, train, `stepped`; then `end_epoch` and `save`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        recipe: Recipe,
        steps: int,
        checkpoints: Checkpoints | None,
        listener: TrainingListener | None,
    ) -> None:
        self.spec, self.recipe, self.steps = spec, recipe, steps
        self.checkpoints = checkpoints
        self.listener = listener or TrainingListener()
        self.progress = Progress(checkpoints.fingerprint if checkpoints else "", planned_epochs=recipe.epochs)
        self.metric = f"val_{spec.metric.name}"
        self._began = time.perf_counter()
        self._marks: list[float] = []
        self._losses: list[float] = []

    def resume(self) -> Arrays | None:
        """Takes up the checkpoint of this training; what `save` wrote, or None if there is no whole one."""
        found = self.checkpoints.load() if self.checkpoints else None
        if found is None:
            return None
        self.progress, arrays = found
        self.listener.resumed(self.progress)
        return arrays

    def begin(self) -> None:
        """Starts the clock; time spent before an interruption counts."""
        self._began = time.perf_counter() - self.progress.elapsed

    def goes_on(self) -> bool:
        """Whether there is another epoch to do; if not, `progress.stopped` says why."""
        progress = self.progress
        if not progress.stopped:
            self._replan()
            if progress.epoch >= progress.planned_epochs:
                progress.stopped = "time" if progress.planned_epochs < self.recipe.epochs else "epochs"
        self._marks, self._losses = [time.perf_counter()], []
        return not progress.stopped

    @property
    def rate(self) -> float:
        """The learning rate of the step that comes now."""
        return learning_rate(self.progress.step / (self.progress.planned_epochs * self.steps), self.recipe)

    def stepped(self, loss: float) -> None:
        """Counts a step. Raises VisionloopError when the loss is not finite."""
        if not math.isfinite(loss):
            raise VisionloopError(
                f"the loss became {loss} at step {self.progress.step}",
                expected="a finite loss",
                fix=f"lower {self.spec.name}.train.learning_rate in params.yaml, or look for odd cases",
            )
        self._losses.append(loss)
        self._marks.append(time.perf_counter())
        self.progress.step += 1
        if self.progress.epoch == 0 and len(self._losses) == MEASURED_STEPS + 1:
            self._replan(float(np.median(np.diff(self._marks))) * self.steps * VALIDATION)
        self._tell(f"loss {loss:.3f}")

    def end_epoch(self, metric: float) -> bool:
        """Ends an epoch with its validation metric; whether it is the best so far."""
        progress = self.progress
        last_rate = self.rate
        progress.epoch += 1
        progress.history.append(
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "loss": float(np.mean(self._losses)) if self._losses else 0.0,
                self.metric: metric,
                "learning_rate": last_rate,
                "epoch_seconds": time.perf_counter() - self._marks[0],
            }
        )
        best = progress.best_metric
        better = best is None or self.spec.metric.better_by(metric, best) > BETTER_BY
        if better:
            progress.best_metric, progress.best_epoch = metric, progress.epoch
        elif progress.epoch - progress.best_epoch >= self.recipe.patience:
            progress.stopped = "early"
        return better

    def save(self, arrays: Callable[[], Arrays]) -> None:
        """Writes the checkpoint of the epoch that ended, then tells of it. Raises StorageError.

        `arrays` copies the whole state, so it is called only where checkpoints are kept.
        """
        self.progress.elapsed = time.perf_counter() - self._began
        if self.checkpoints:
            self.checkpoints.save(self.progress, arrays())
        self.listener.epoch(self.progress.history[-1])

    def _replan(self, epoch_seconds: float | None = None) -> None:
        """Plans as many epochs as fit into the time, `recipe.epochs` at most."""
        progress = self.progress
        if epoch_seconds is None:
            if not progress.history:
                return
            epoch_seconds = float(np.median([row["epoch_seconds"] for row in progress.history]))
        left = self.recipe.max_seconds - (time.perf_counter() - self._began)
        # Half an epoch over is better than half an epoch of a falling learning rate lost.
        more = int((self.recipe.max_seconds if progress.epoch == 0 else left) / epoch_seconds + 0.3)
        progress.planned_epochs = max(1, progress.epoch, min(self.recipe.epochs, progress.epoch + more))

    def _tell(self, note: str) -> None:
        best = self.progress.best_metric
        line = f"epoch {self.progress.epoch + 1}/{self.progress.planned_epochs}, {note}"
        if best is not None:
            line += f", best {self.spec.metric.title} {best:.3f}"
        self.listener.step(self.progress.step, self.progress.planned_epochs * self.steps, line)
