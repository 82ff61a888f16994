"""The training loop for PyTorch networks. It owns the loop; what is particular to a model comes as hooks: a module or
an object with

OUTPUTS: tuple[str, ...]             names of what forward returns in eval mode, one of them "embedding"
input_shape(params) -> (C, H, W)
build(params) -> nn.Module           eval: forward(float32 [N, C, H, W]) -> tuple in the order of OUTPUTS;
                                     while training: whatever `loss` understands
examples(cases, params, train, seed) -> Dataset of (x [C, H, W], y); may have set_epoch(epoch)
loss(outputs, target) -> scalar tensor
keep(model) -> [nn.Module]           layers that pruning must not touch
preprocessing(params), thresholds(params)    constants that go into the bundle

and, where a model wants them,

collate(list of (x, y)) -> (x [N, ...], y)   instead of PyTorch's own
metric_parts(outputs, target) -> (numerator, denominator)   summed over an epoch: the validation metric. Without it the
                                     metric is scored on results (postprocess, score) and there is no val_loss
raw(model, x) -> outputs             what `loss` understands of a model in eval mode, where forward gives something else
before_epoch(model, epoch, params, pretrained)   before epoch `epoch` (from 0): freeze or unfreeze layers; `pretrained`:
                                     training began from pretrained weights, not from random ones or from a champion
finish(model, batches, params)       after training, with batches of (x, y) of the train split as it is: sets buffers
                                     that follow from the features, e.g. a PCA
inherit(weights, thresholds, params) -> weights   a champion's weights, made to fit `params["classes"]`
FULL_PRECISION: tuple[str, ...]      patterns of ONNX node names that int8 leaves alone
rename(weights) -> weights           other people's names of the same layers -> ours (pretrained weights)
hub_weights() -> weights             pretrained weights from the framework's own hub
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from registry.contract.spec import ModelSpec
from registry.core.media import Case, FloatArray
from registry.core.runtime import default_threads
from training.export import onnx_export
from training.prune import torch_pruning as pruning
from training.workspace.checkpoint import Checkpoints, Progress
from training.workspace.course import FitResult, TrainingCourse, TrainingListener
from training.workspace.engine import Arrays, Cost, Pruned, validator
from training.workspace.rehearsal import averaged
from training.workspace.scoring import spread
from training.workspace.workspace import Compression, Recipe

NAME = "torch"
BATCH_NORM_MOMENTUM = 0.1  # at least; EfficientNet's 0.01 averages over more steps than a training here has
IMPORTANCE_CASES = 24


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


def build(hooks: Any, params: Mapping[str, Any], seed: int) -> nn.Module:
    """As `Engine.build`."""
    seed_everything(seed)
    return hooks.build(params)  # type: ignore[no-any-return]


def restore(hooks: Any, params: Mapping[str, Any], weights: Arrays) -> nn.Module:
    """As `Engine.restore`."""
    return pruning.reshape_like(build(hooks, params, seed=0), tensors(weights))


def take_over(network: nn.Module, weights: Arrays) -> tuple[nn.Module, int]:
    """As `Engine.take_over`."""
    own, given = network.state_dict(), tensors(weights)
    fitting = {
        name: given[name].to(value.dtype)
        for name, value in own.items()
        if name in given and given[name].shape == value.shape
    }
    network.load_state_dict(fitting, strict=False)
    return network, len(fitting)


def tensors(weights: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}


def weights(network: nn.Module) -> dict[str, NDArray[Any]]:
    """As `Engine.weights`."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}


def session(hooks: Any, network: nn.Module) -> TorchSession:
    """As `Engine.session`."""
    return TorchSession(network, hooks.OUTPUTS)


def cost(network: nn.Module, shape: tuple[int, ...]) -> Cost:
    """As `Engine.cost`."""
    return pruning.cost(network, shape)


def prune(
    hooks: Any, network: nn.Module, cases: Sequence[Case], params: dict[str, Any], options: Compression
) -> Pruned:
    """As `Engine.prune`."""
    train = spread([case for case in cases if case.split == "train"], IMPORTANCE_CASES)
    examples = hooks.examples(train, params, False, int(params["seed"]))
    batches = loader(hooks, examples, int(params["batch"]))
    smaller = pruning.prune(hooks, network, hooks.input_shape(params), options.sparsity, batches)
    return Pruned(smaller, "structured pruning, group Taylor importance (torch-pruning), then fine-tuning")


def to_onnx(hooks: Any, network: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """As `Engine.to_onnx`."""
    return onnx_export.to_onnx(network, hooks.OUTPUTS, shape, path)


def loader(hooks: Any, examples: Any, batch: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(examples, batch, collate_fn=getattr(hooks, "collate", None), **options)


def readable(state: bytes) -> bool:
    """As `Engine.readable`."""
    try:
        torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
    except Exception:  # torch raises half a dozen kinds for bytes that are not a checkpoint
        return False
    return True


def fit(
    spec: ModelSpec,
    hooks: Any,
    network: nn.Module,
    cases: Sequence[Case],
    params: dict[str, Any],
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    watcher: TrainingListener | None = None,
) -> FitResult:
    """As `Engine.fit`. Goes on from the checkpoint when there is one of this training.

    Raises:
        VisionloopError: the loss is not finite.
        StorageError: the checkpoint could not be written.
    """
    return _Loop(spec, hooks, network, cases, params, recipe, checkpoints, watcher).run()


class _Loop:
    def __init__(
        self,
        spec: ModelSpec,
        hooks: Any,
        network: nn.Module,
        cases: Sequence[Case],
        params: dict[str, Any],
        recipe: Recipe,
        checkpoints: Checkpoints | None,
        watcher: TrainingListener | None,
    ) -> None:
        self.hooks, self.params, self.recipe = hooks, params, recipe
        self.device = device()
        seed_everything(recipe.seed)
        self.model = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
                module.momentum = max(module.momentum, BATCH_NORM_MOMENTUM)
        # Fused: the default loops over tensors in Python and takes a tenth of a small detector's step.
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.train_cases = [case for case in cases if case.split == "train"]
        self.train_set = hooks.examples(self.train_cases, params, True, recipe.seed)
        self.score: Callable[[Any], float] | None = None
        if hasattr(hooks, "metric_parts"):
            self.val_set = hooks.examples([c for c in cases if c.split == "val"], params, False, recipe.seed)
        else:
            self.score = validator(spec, hooks, cases, params)
        steps = max(1, len(self.train_set) // recipe.batch)  # an epoch; the rest is drawn in another one
        self.course = TrainingCourse(spec, recipe, steps, checkpoints, watcher)
        self.best: dict[str, Tensor] = {}
        self.before = {name: value.copy() for name, value in weights(network).items()} if recipe.average else {}

    @property
    def progress(self) -> Progress:
        return self.course.progress

    def run(self) -> FitResult:
        resumed_at = self.resume()
        self.course.begin()
        while self.course.goes_on():
            self.epoch()
            val_loss, metric = self.validate()
            self.course.close(metric, val_loss, self.state)
        self.model.cpu().load_state_dict(self.best)
        if self.before:
            self.model.load_state_dict(tensors(averaged(weights(self.model), self.before, self.recipe.average)))
        self.model.requires_grad_(True).eval()
        if hasattr(self.hooks, "finish"):
            examples = self.hooks.examples(self.train_cases, self.params, False, self.recipe.seed)
            with torch.no_grad():
                self.hooks.finish(self.model, loader(self.hooks, examples, 2 * self.recipe.batch), self.params)
        return FitResult(self.model, self.progress, self.device.type, resumed_at)

    def epoch(self) -> None:
        """One pass over the training examples."""
        self.model.train()
        if hasattr(self.hooks, "before_epoch"):
            pretrained = bool(self.params.get("pretrained"))
            self.hooks.before_epoch(self.model, self.progress.epoch, self.params, pretrained)
        if self.recipe.keep_statistics:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        for x, y in self.batches():
            for group in self.optimizer.param_groups:
                group["lr"] = self.course.rate
            loss = self.hooks.loss(self.model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.course.stepped(loss.item())

    def batches(self) -> Iterator[tuple[Tensor, Any]]:
        """Batches of this epoch: the order depends on the seed and the epoch only, so a resumed run sees the same."""
        if hasattr(self.train_set, "set_epoch"):
            self.train_set.set_epoch(self.progress.epoch)
        order = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.progress.epoch)
        whole = len(self.train_set) >= self.recipe.batch
        for x, y in loader(
            self.hooks, self.train_set, self.recipe.batch, shuffle=True, drop_last=whole, generator=order
        ):
            yield self.put(x), y.to(self.device)

    def put(self, x: Tensor) -> Tensor:
        return x.to(self.device, memory_format=torch.channels_last)

    @torch.no_grad()  # not inference_mode: what a network caches here may be wanted with gradients in the next epoch
    def validate(self) -> tuple[float | None, float]:
        """Loss (where there is one) and metric over the validation examples."""
        self.model.eval()
        if self.score is not None:
            return None, self.score(self._predict)
        losses, over, under, count = 0.0, 0.0, 0.0, 0
        for x, y in loader(self.hooks, self.val_set, 2 * self.recipe.batch):
            outputs, y = self.model(self.put(x)), y.to(self.device)
            losses += float(self.hooks.loss(outputs, y)) * len(x)
            count += len(x)
            a, b = self.hooks.metric_parts(outputs, y)
            over, under = over + a, under + b
        return losses / max(count, 1), over / under if under else 0.0

    def _predict(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self.model(self.put(torch.from_numpy(batch)))
        return {name: value.float().cpu().numpy() for name, value in zip(self.hooks.OUTPUTS, values, strict=True)}

    def state(self, better: bool) -> bytes:
        if better:
            self.best = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
        buffer = io.BytesIO()
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": torch.get_rng_state(),
                "best": self.best,
            },
            buffer,
        )
        return buffer.getvalue()

    def resume(self) -> int:
        """Takes up the checkpoint, if there is a whole one; the epoch it was written after, else 0."""
        found = self.course.checkpoints.load()
        if found is None or not readable(found[1]):
            return 0
        self.course.progress = found[0]
        state = torch.load(io.BytesIO(found[1]), weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.best = state["best"]
        return self.progress.epoch


class TorchSession:
    """A network that is not exported yet, called like a `registry.core.runtime.Session`."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        self.model = model.cpu().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.outputs = outputs

    @torch.inference_mode()
    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self.model(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last))
        return {name: value.float().numpy() for name, value in zip(self.outputs, values, strict=True)}
