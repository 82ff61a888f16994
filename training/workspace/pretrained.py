"""Finds pretrained weights and puts in those that fit.

The first source that has weights is used: the file that `train.weights` in params.yaml names; then the entries of
`spec.weights` in order. `file:PATH` is relative to the project (or to the home folder with ~, for a framework's cache);
`hub` is the framework's own hub, used only if the setting `allow_downloads` is on. Without any, training starts from
random weights and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Hooks, Weights
from registry.core.errors import BadInput, NotFound, first_line
from training.workspace import keras_files
from training.workspace.checkpoint import load_weights

if TYPE_CHECKING:
    from training.workspace.engine import Engine
    from training.workspace.workspace import Workspace

FORMATS = (".safetensors", ".npz", ".pt", ".pth", ".h5", ".hdf5", ".keras")
HUB = "hub"
SCRATCH = "random weights: trained from scratch on this data set alone"


@dataclass(frozen=True)
class Origin:
    """Where a training's first weights come from, in words. `taken`: the number of pretrained tensors."""

    words: str
    taken: int = 0


def start_from_pretrained(workspace: Workspace, engine: Engine[Any], hooks: Hooks, network: Any) -> tuple[Any, Origin]:
    """The network with pretrained weights, if there are any, and where they come from.

    Raises:
        NotFound: the file that params.yaml names is not there.
        BadInput: it is not a weights file, or none of its tensors fits.
    """
    weights, source, missed = _find(workspace, hooks)
    if not weights:
        return network, Origin(SCRATCH + (f" ({'; '.join(missed)})" if missed else ""))
    network, taken = engine.take_over(network, hooks.rename(weights))
    if not taken:
        raise BadInput(
            f"none of the {len(weights)} tensors of {source} fits the network",
            expected=f"weights of {workspace.spec.title}'s network, by name and shape",
            fix=f"correct {workspace.spec.name}.train.weights in params.yaml, or remove it",
        )
    return network, Origin(f"{source}: {taken} of {len(weights)} tensors taken by name and shape", taken)


def weights_file(workspace: Workspace) -> Path | None:
    """The weights file that a training from scratch starts from; None if this machine has none.

    Raises:
        NotFound: the file that params.yaml names is not there.
    """
    given = workspace.sections["train"].get("weights")
    if given:
        path = _located(workspace, str(given))
        if not path.is_file():
            raise NotFound(
                f"there is no weights file {path}",
                expected=f"the file that {workspace.spec.name}.train.weights names",
                fix="correct params.yaml, or remove `weights` to train from scratch",
            )
        return path
    named = (_located(workspace, name.removeprefix("file:")) for name in workspace.spec.weights if name != HUB)
    return next((path for path in named if path.is_file()), None)


def _find(workspace: Workspace, hooks: Hooks) -> tuple[Weights, str, list[str]]:
    """Weights and their source ({} and "" if there are none), and the sources that had none."""
    path = weights_file(workspace)
    if path is not None:
        return read(path), path.name, []
    missed = [f"no file {name.removeprefix('file:')}" for name in workspace.spec.weights if name != HUB]
    if HUB in workspace.spec.weights:
        if not workspace.settings.allow_downloads:
            missed.append("downloads are off: setting allow_downloads")
        elif (found := hooks.hub_weights()) is not None:
            return found, "the framework's hub", missed
    return {}, "", missed


def _located(workspace: Workspace, name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() else workspace.settings.root / path


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name from a weights file. No code in it is executed.

    Raises:
        BadInput: not one of `FORMATS`, or damaged, or a pickle of anything but tensors.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            return load_weights(path)
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: _plain(file[name]) for name in file.files}
        if suffix in (".pt", ".pth"):
            return _torch(path)
        if suffix in (".h5", ".hdf5", ".keras"):
            return {name: _plain(value) for name, value in keras_files.read(path).items()}
    except Exception as error:  # each library has kinds of its own for a file that is not what its name says
        raise BadInput(
            f"{path.name} cannot be read: {first_line(error)}",
            expected=f"a weights file, whole: {', '.join(FORMATS)}",
            fix="fetch it again; a .pt with code in it must be saved as a state dict or as .safetensors first",
        ) from error
    raise BadInput(f"{path.name} is not a weights file", expected=", ".join(FORMATS))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """float16 becomes float32: half precision is for storing, not for training."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _torch(path: Path) -> dict[str, NDArray[Any]]:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    return {
        name: _plain(value.float().numpy() if value.is_floating_point() else value.numpy())
        for name, value in found.items()
        if isinstance(value, torch.Tensor)
    }
