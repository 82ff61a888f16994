"""The training loop for PyTorch models. It owns the loop; what is particular to a model comes from its `network.py`:

OUTPUTS: tuple[str, ...]                        names of what forward returns, one of them "embedding"
input_shape(params) -> (C, H, W)
build(params) -> nn.Module                      forward(float32 [N, C, H, W]) -> tuple in the order of OUTPUTS
examples(cases, params, train, seed) -> Dataset of (x [C, H, W], y); may have set_epoch(epoch)
loss(outputs, target) -> scalar tensor
metric_parts(outputs, target) -> (numerator, denominator), summed over an epoch for the validation metric
keep(model) -> [nn.Module]                      layers that pruning must not touch
preprocessing(params), thresholds(params)       constants that go into the bundle
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from registry.errors import VisionloopError
from registry.media import Case, FloatArray
from registry.runtime import default_threads
from registry.spec import ModelSpec
from training.checkpoint import Checkpoints, History, Progress
from training.stage import Recipe

LAST_RATE = 0.02  # share of the learning rate that is left at the end
MEASURED_STEPS = 6  # before the plan is first checked against the clock; the first ones are not typical
VALIDATION = 1.15  # an epoch with its validation, against one without: a first guess
BATCH_NORM_MOMENTUM = 0.1  # at least; EfficientNet's 0.01 averages over more steps than a training here has
BETTER_BY = 1e-4  # less is noise, and does not count for early stopping


@dataclass
class Fitted:
    """What came of a training. `model` holds the best epoch's weights, on the CPU, in eval mode."""

    model: nn.Module
    progress: Progress
    device: str
    resumed_at: int

    @property
    def history(self) -> History:
        return self.progress.history


@dataclass(frozen=True)
class Watcher:
    """Who is told while training runs. `step(done, total, note)` after each step, `epoch(row)` after each epoch."""

    step: Callable[[int, int, str], None] = lambda done, total, note: None
    epoch: Callable[[dict[str, float]], None] = lambda row: None


def use_threads(threads: int) -> None:
    """Fixes the thread count of this process: measured times and results depend on it."""
    torch.set_num_threads(threads or default_threads())


def device() -> torch.device:
    """A GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def rate(done: float, recipe: Recipe) -> float:
    """The learning rate when the share `done` of the steps is done: linear warm-up, then half a cosine."""
    if done < recipe.warm_up:
        return recipe.learning_rate * (0.05 + 0.95 * done / recipe.warm_up)
    fall = (min(done, 1.0) - recipe.warm_up) / (1 - recipe.warm_up)
    return recipe.learning_rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))


def fit(
    spec: ModelSpec,
    model: nn.Module,
    cases: Sequence[Case],
    params: dict[str, Any],
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fitted:
    """Trains `model` on the `train` cases, choosing the epoch that is best on the `val` cases.

    Runs `recipe.epochs` epochs, fewer when they would not fit into `recipe.max_seconds` (the learning rate then falls
    sooner) or when validation stops improving. Goes on from the checkpoint when there is one of this training.

    Raises:
        VisionloopError: the loss is not finite.
        StorageError: the checkpoint could not be written.
    """
    loop = _Loop(spec, model, cases, params, recipe, checkpoints or Checkpoints(None, ""), watcher or Watcher())
    return loop.run()


class _Loop:
    def __init__(
        self,
        spec: ModelSpec,
        model: nn.Module,
        cases: Sequence[Case],
        params: dict[str, Any],
        recipe: Recipe,
        checkpoints: Checkpoints,
        watcher: Watcher,
    ) -> None:
        self.spec, self.network, self.recipe = spec, spec.network, recipe
        self.checkpoints, self.watcher = checkpoints, watcher
        self.device = device()
        seed_everything(recipe.seed)
        self.model = model.to(self.device, memory_format=torch.channels_last)
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
                module.momentum = max(module.momentum, BATCH_NORM_MOMENTUM)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.train_set = self.network.examples([c for c in cases if c.split == "train"], params, True, recipe.seed)
        self.val_set = self.network.examples([c for c in cases if c.split == "val"], params, False, recipe.seed)
        self.steps = max(1, len(self.train_set) // recipe.batch)  # an epoch; the rest is drawn in another one
        self.progress = Progress(checkpoints.fingerprint, planned_epochs=recipe.epochs)
        self.best: dict[str, torch.Tensor] = {}
        self.metric = f"val_{spec.metric.name}"

    def run(self) -> Fitted:
        resumed_at = self.resume()
        began = time.perf_counter() - self.progress.elapsed
        while not self.progress.stopped:
            self.watch_clock(began)
            if self.progress.epoch >= self.progress.planned_epochs:
                self.progress.stopped = "time" if self.progress.planned_epochs < self.recipe.epochs else "epochs"
                break
            row = self.epoch(began)
            better = self.judge(row)
            self.progress.history.append(row)
            if better:
                self.best = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
            if self.progress.epoch - self.progress.best_epoch >= self.recipe.patience:
                self.progress.stopped = "early"
            self.progress.elapsed = time.perf_counter() - began
            self.checkpoints.save(self.progress, self.state())
            self.watcher.epoch(row)
        self.model.cpu().load_state_dict(self.best)
        return Fitted(self.model.eval(), self.progress, self.device.type, resumed_at)

    def epoch(self, began: float) -> dict[str, float]:
        """One pass over the training examples and one over the validation examples."""
        started, total, marks = time.perf_counter(), 0.0, [time.perf_counter()]
        self.model.train()
        for number, (x, y) in enumerate(self.batches()):
            done = self.progress.step / (self.progress.planned_epochs * self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate(done, self.recipe)
            loss = self.network.loss(self.model(x), y)
            value = loss.item()
            if not math.isfinite(value):
                raise VisionloopError(
                    f"the loss became {value} at step {self.progress.step}",
                    expected="a finite loss",
                    mend=f"lower {self.spec.name}.train.learning_rate in params.yaml, or look for odd cases",
                )
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            total += value
            self.progress.step += 1
            marks.append(time.perf_counter())
            if self.progress.epoch == 0 and number == MEASURED_STEPS:
                self.watch_clock(began, float(np.median(np.diff(marks))) * self.steps * VALIDATION)
            self.tell(f"loss {value:.3f}")
        val_loss, metric = self.validate()
        self.progress.epoch += 1
        return {
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "loss": total / self.steps,
            "val_loss": val_loss,
            self.metric: metric,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "epoch_seconds": time.perf_counter() - started,
        }

    def batches(self) -> Any:
        """Batches of this epoch: the order depends on the seed and the epoch only, so a resumed run sees the same."""
        if hasattr(self.train_set, "set_epoch"):
            self.train_set.set_epoch(self.progress.epoch)
        order = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.progress.epoch)
        whole = len(self.train_set) >= self.recipe.batch
        loader = torch.utils.data.DataLoader(
            self.train_set, self.recipe.batch, shuffle=True, drop_last=whole, generator=order
        )
        for x, y in loader:
            yield self.put(x), y.to(self.device)

    def put(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Loss and metric over the validation examples."""
        self.model.eval()
        losses, over, under, count = 0.0, 0.0, 0.0, 0
        for x, y in torch.utils.data.DataLoader(self.val_set, 2 * self.recipe.batch):
            outputs, y = self.model(self.put(x)), y.to(self.device)
            losses += float(self.network.loss(outputs, y)) * len(x)
            count += len(x)
            a, b = self.network.metric_parts(outputs, y)
            over, under = over + a, under + b
        return losses / max(count, 1), over / under if under else 0.0

    def judge(self, row: dict[str, float]) -> bool:
        """Whether this epoch is the best so far."""
        old = self.progress.best_metric
        if old is not None and self.spec.metric.better_by(row[self.metric], old) <= BETTER_BY:
            return False
        self.progress.best_metric, self.progress.best_epoch = row[self.metric], self.progress.epoch
        return True

    def watch_clock(self, began: float, epoch_seconds: float | None = None) -> None:
        """Plans as many epochs as fit into the time, `recipe.epochs` at most."""
        if epoch_seconds is None:
            if not self.progress.history:
                return
            epoch_seconds = float(np.median([row["epoch_seconds"] for row in self.progress.history]))
        left = self.recipe.max_seconds - (time.perf_counter() - began)
        # Half an epoch over is better than half an epoch of a falling learning rate lost.
        more = int((self.recipe.max_seconds if self.progress.epoch == 0 else left) / epoch_seconds + 0.3)
        self.progress.planned_epochs = max(1, self.progress.epoch, min(self.recipe.epochs, self.progress.epoch + more))

    def tell(self, note: str) -> None:
        best = self.progress.best_metric
        said = f"epoch {self.progress.epoch + 1}/{self.progress.planned_epochs}, {note}"
        if best is not None:
            said += f", best {self.spec.metric.title} {best:.3f}"
        self.watcher.step(self.progress.step, self.progress.planned_epochs * self.steps, said)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "best": self.best,
        }

    def resume(self) -> int:
        """Takes up the checkpoint, if there is one; the epoch it was written after, else 0."""
        found = self.checkpoints.load()
        if found is None:
            return 0
        self.progress, state = found
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.best = state["best"]
        return self.progress.epoch


class TorchSession:
    """A network that is not exported yet, called like a `registry.runtime.Session`."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        self.model = model.cpu().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.outputs = outputs

    @torch.inference_mode()
    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self.model(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last))
        return {name: value.float().numpy() for name, value in zip(self.outputs, values, strict=True)}


def build(network: ModuleType, params: dict[str, Any], seed: int) -> nn.Module:
    """The network with random weights that depend on the seed only."""
    seed_everything(seed)
    return network.build(params)  # type: ignore[no-any-return]
