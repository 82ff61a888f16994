"""Structured pruning: whole channels go, so that every engine gets faster, not only those that know of zeros."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from registry.contract.hooks import TorchHooks
from training.workspace.engine import CHANNEL_MULTIPLE, Cost, misfit


def cost(model: nn.Module, shape: tuple[int, ...]) -> Cost:
    """Counted by torch-pruning for one input of `shape` [C, H, W]."""
    import torch_pruning

    macs, parameters = torch_pruning.utils.count_ops_and_params(model, torch.zeros(1, *shape))
    return Cost(int(macs), int(parameters))


def prune(
    hooks: TorchHooks,
    model: nn.Module,
    shape: tuple[int, ...],
    sparsity: float,
    batches: Iterable[tuple[Tensor, Any]],
) -> nn.Module:
    """A copy with about `sparsity` of the channels of each layer removed; counts stay multiples of 8, layers of
    `hooks.keep` stay whole.

    Channels that depend on each other go together (DepGraph, Fang 2023, arXiv:2301.12900), those first whose removal
    changes the loss least to first order (Taylor importance, Molchanov 2019, arXiv:1906.10771), by the gradients over
    `batches` of (x, y). By L2 magnitude alone the head's input lost all channels that speak for the foreground: after
    the same fine-tuning Dice was 0.93 and the loss 0.37, with this 0.95 and 0.08.
    """
    import torch_pruning

    pruned = copy.deepcopy(model).cpu().eval()
    pruned.zero_grad()
    for x, y in batches:
        hooks.loss(hooks.raw(pruned, x), y).backward()
    pruner = torch_pruning.pruner.BasePruner(
        pruned,
        torch.zeros(1, *shape),
        importance=torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=sparsity,
        round_to=CHANNEL_MULTIPLE,
        ignored_layers=hooks.keep(pruned),
        output_transform=lambda outputs: outputs[0],  # the embedding is free to shrink
    )
    pruner.step()
    for parameter in pruned.parameters():
        parameter.grad = None
    return pruned


def reshape_like(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Gives `model` the channel counts and the values of `weights` (a state dict of a pruned copy of it), in place.

    This is how a pruned network is built again without unpickling code: the shapes say all.

    Raises:
        BundleError: `weights` are of another architecture.
    """
    for name, module in model.named_modules():
        weight = weights.get(f"{name}.weight" if name else "weight")
        if weight is not None and isinstance(getattr(module, "weight", None), Tensor):
            _resize(module, weight.shape)
        for kind, values in (("parameters", module._parameters), ("buffers", module._buffers)):
            for key, value in list(values.items()):
                new = weights.get(f"{name}.{key}" if name else key)
                if value is None or new is None or new.shape == value.shape:
                    continue
                resized: Any = torch.empty(new.shape, dtype=value.dtype)
                values[key] = nn.Parameter(resized) if kind == "parameters" else resized
    try:
        model.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        last = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()  # torch names the layer there
        raise misfit(last) from error
    return model


def _resize(module: nn.Module, shape: torch.Size) -> None:
    """Sets the attributes that say how many channels `module` has."""
    if isinstance(module, nn.Conv2d):
        if module.groups > 1 and module.groups == module.in_channels:  # depthwise: one filter a channel
            multiplier = module.out_channels // module.in_channels
            module.groups = module.in_channels = shape[0] // multiplier
        else:
            module.in_channels = shape[1] * module.groups
        module.out_channels = shape[0]
    elif isinstance(module, nn.ConvTranspose2d):
        module.in_channels, module.out_channels = shape[0], shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(shape)
