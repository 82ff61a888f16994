"""The training loop for PyTorch networks. It owns the loop; what is particular to a model comes as
`registry.contract.hooks.TorchHooks`.
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

from registry.contract.hooks import TorchHooks
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


def build(hooks: TorchHooks, params: Mapping[str, Any], seed: int) -> nn.Module:
    """As `Engine.build`."""
    seed_everything(seed)
    return hooks.build(params)  # type: ignore[no-any-return]


def restore(hooks: TorchHooks, params: Mapping[str, Any], weights: Arrays) -> nn.Module:
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


def session(hooks: TorchHooks, network: nn.Module) -> TorchSession:
    """As `Engine.session`."""
    return TorchSession(network, hooks.OUTPUTS)


def cost(network: nn.Module, shape: tuple[int, ...]) -> Cost:
    """As `Engine.cost`."""
    return pruning.cost(network, shape)


def prune(
    hooks: TorchHooks, network: nn.Module, cases: Sequence[Case], params: dict[str, Any], options: Compression
) -> Pruned:
    """As `Engine.prune`."""
    train = spread([case for case in cases if case.split == "train"], IMPORTANCE_CASES)
    examples = hooks.examples(train, params, False, int(params["seed"]))
    batches = loader(hooks, examples, int(params["batch"]))
    smaller = pruning.prune(hooks, network, hooks.input_shape(params), options.sparsity, batches)
    return Pruned(smaller, "structured pruning, group Taylor importance (torch-pruning), then fine-tuning")


def to_onnx(hooks: TorchHooks, network: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """As `Engine.to_onnx`."""
    return onnx_export.to_onnx(network, hooks.OUTPUTS, shape, path)


def loader(hooks: TorchHooks, examples: Any, batch: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(examples, batch, collate_fn=hooks.collate, **options)


def readable(state: bytes) -> bool:
    """As `Engine.readable`."""
    try:
        torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
    except Exception:  # torch raises half a dozen kinds for bytes that are not a checkpoint
        return False
    return True


def fit(
    spec: ModelSpec,
    hooks: TorchHooks,
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
        hooks: TorchHooks,
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
        if hooks.COUNTS_METRIC:
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
        with torch.no_grad():
            self.hooks.finish(self.model, self.plain_batches(), self.params)
        return FitResult(self.model, self.progress, self.device.type, resumed_at)

    def epoch(self) -> None:
        """One pass over the training examples."""
        self.model.train()
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
        self.train_set.set_epoch(self.progress.epoch)
        order = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.progress.epoch)
        whole = len(self.train_set) >= self.recipe.batch
        for x, y in loader(
            self.hooks, self.train_set, self.recipe.batch, shuffle=True, drop_last=whole, generator=order
        ):
            yield self.put(x), y.to(self.device)

    def plain_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The train split as it is. Nothing is read before the first batch is asked for."""
        examples = self.hooks.examples(self.train_cases, self.params, False, self.recipe.seed)
        yield from loader(self.hooks, examples, 2 * self.recipe.batch)

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
