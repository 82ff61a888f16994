"""The engine of PyTorch networks; it also trains ultralytics' detectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from registry.contract.hooks import Examples, TorchHooks, Weights
from registry.core.media import Case, FloatArray
from registry.core.runtime import default_threads
from training.export import onnx_export
from training.prune import torch_pruning
from training.workspace.checkpoint import Arrays
from training.workspace.engine import Cost, Engine, Pruned, Trainer
from training.workspace.parameters import Compression, Recipe
from training.workspace.scoring import representative_cases

BATCH_NORM_MOMENTUM = 0.1  # at least; EfficientNet's 0.01 averages over more steps than a training here has
IMPORTANCE_CASES = 24
CLIP_NORM = 5.0


class TorchEngine(Engine[TorchHooks]):
    """See `Engine`."""

    name = "torch"

    def use_threads(self, threads: int) -> None:
        torch.set_num_threads(threads or default_threads())

    def build(self, hooks: TorchHooks, params: Mapping[str, Any], seed: int) -> nn.Module:
        _seed(seed)
        return hooks.build(params)  # type: ignore[no-any-return]

    def restore(self, hooks: TorchHooks, params: Mapping[str, Any], weights: Weights) -> nn.Module:
        return torch_pruning.reshape_like(self.build(hooks, params, seed=0), _tensors(weights))

    def take_over(self, network: nn.Module, weights: Weights) -> tuple[nn.Module, int]:
        own, given = network.state_dict(), _tensors(weights)
        fitting = {
            name: given[name].to(value.dtype)
            for name, value in own.items()
            if name in given and given[name].shape == value.shape
        }
        network.load_state_dict(fitting, strict=False)
        return network, len(fitting)

    def weights(self, network: nn.Module) -> Arrays:
        return {name: _array(value) for name, value in network.state_dict().items()}

    def trainer(
        self,
        hooks: TorchHooks,
        network: nn.Module,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        recipe: Recipe,
    ) -> TorchTrainer:
        return TorchTrainer(hooks, network, cases, params, recipe)

    def session(self, hooks: TorchHooks, network: nn.Module) -> TorchSession:
        return TorchSession(network, hooks.OUTPUTS)

    def cost(self, network: nn.Module, shape: tuple[int, ...]) -> Cost:
        return torch_pruning.cost(network, shape)

    def prune(
        self,
        hooks: TorchHooks,
        network: nn.Module,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        options: Compression,
    ) -> Pruned:
        train = representative_cases([case for case in cases if case.split == "train"], IMPORTANCE_CASES)
        batches = _loader(hooks, hooks.examples(train, params, False, int(params["seed"])), int(params["batch"]))
        smaller = torch_pruning.prune(hooks, network, hooks.input_shape(params), options.sparsity, batches)
        return Pruned(smaller, "structured pruning, group Taylor importance (torch-pruning), then fine-tuning")

    def to_onnx(self, hooks: TorchHooks, network: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
        return onnx_export.to_onnx(network, hooks.OUTPUTS, shape, path)


class TorchTrainer(Trainer):
    """See `Trainer`."""

    def __init__(
        self,
        hooks: TorchHooks,
        network: nn.Module,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        recipe: Recipe,
    ) -> None:
        self.hooks, self.cases, self.params, self.recipe = hooks, cases, params, recipe
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        _seed(recipe.seed)
        self.model = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norms = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in self.norms:
            if norm.momentum is not None:
                norm.momentum = max(norm.momentum, BATCH_NORM_MOMENTUM)
        # Fused: the default loops over tensors in Python and takes a tenth of a small detector's step.
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.train_set = hooks.examples(cases, params, True, recipe.seed)
        self.examples = len(self.train_set)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Any]]:
        self.model.train()
        self.hooks.before_epoch(self.model, epoch, self.params, bool(self.params.get("pretrained")))
        if self.recipe.keep_statistics:
            for norm in self.norms:
                norm.eval()
        self.train_set.set_epoch(epoch)
        order = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        whole = self.examples >= self.recipe.batch
        yield from _loader(
            self.hooks, self.train_set, self.recipe.batch, shuffle=True, drop_last=whole, generator=order
        )

    def step(self, batch: tuple[Tensor, Any], rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x, y = batch
        loss = self.hooks.loss(self.model(self._placed(x)), y.to(self.device))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    def _placed(self, x: Tensor) -> Tensor:
        return x.to(self.device, memory_format=torch.channels_last)

    @torch.no_grad()  # not inference_mode: what a network caches here may be wanted with gradients in the next epoch
    def predict(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self.model.eval()(self._placed(torch.from_numpy(batch)))
        return {name: value.float().cpu().numpy() for name, value in zip(self.hooks.OUTPUTS, values, strict=True)}

    def state(self) -> Arrays:
        return {
            **{f"model/{name}": _array(value) for name, value in self.model.state_dict().items()},
            **{
                f"optimizer/{number}/{name}": _array(value)
                for number, moments in self.optimizer.state_dict()["state"].items()
                for name, value in moments.items()
            },
            "random": torch.get_rng_state().numpy(),
        }

    def load(self, state: Arrays) -> None:
        parameters = list(self.model.parameters())
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                number, _, name = rest.partition("/")
                given, like = torch.from_numpy(value), parameters[int(number)]
                # The fused step goes through memory in its order: moments must lie there as their parameter does.
                laid = torch.empty_like(like).copy_(given) if given.shape == like.shape else given
                moments.setdefault(int(number), {})[name] = laid
        self.model.load_state_dict(
            {k.removeprefix("model/"): torch.from_numpy(v) for k, v in state.items() if k.startswith("model/")}
        )
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(torch.from_numpy(state["random"]))

    def finish(self, weights: Weights) -> nn.Module:
        self.model.cpu().load_state_dict(_tensors(weights))
        self.model.requires_grad_(True).eval()
        with torch.no_grad():
            self.hooks.finish(self.model, self._plain_batches(), self.params)
        return self.model

    def _plain_batches(self) -> Iterator[tuple[Tensor, Any]]:
        examples = self.hooks.examples(self.cases, self.params, False, self.recipe.seed)
        yield from _loader(self.hooks, examples, 2 * self.recipe.batch)


class TorchSession:
    """A network that is not exported yet, called like a `registry.core.runtime.Session`."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        self.model = model.cpu().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.outputs = outputs

    @torch.inference_mode()
    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self.model(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last))
        return {name: value.float().numpy() for name, value in zip(self.outputs, values, strict=True)}


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _loader(hooks: TorchHooks, examples: Examples, batch: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(examples, batch, collate_fn=hooks.collate, **options)  # type: ignore[arg-type]


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().contiguous().numpy()  # type: ignore[no-any-return]


def _tensors(weights: Weights) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
