"""The network that a training begins with, and the one that it ends with."""

from __future__ import annotations

from typing import Any

from registry.versions.bundle import WEIGHTS
from training.engines.select import engine_of, hooks_of
from training.workspace import pretrained
from training.workspace.checkpoint import load_weights
from training.workspace.workspace import Workspace


def starting_network(workspace: Workspace) -> tuple[Any, pretrained.Origin]:
    """The network before training, and where its weights come from.

    The champion's, with its (pruned) shapes; else random ones, into which pretrained weights are put where there are
    some.

    Raises:
        BundleError: the champion is of another architecture.
        NotFound, BadInput: the weights file named in params.yaml is missing or unreadable.
    """
    engine, hooks, params = engine_of(workspace.spec), hooks_of(workspace.spec), workspace.params
    if workspace.start:
        found = load_weights(workspace.start.bundle.path / WEIGHTS)
        words = f"version {workspace.start.version} of {workspace.spec.name}"
        if list(workspace.start.classes) == list(workspace.classes):
            return engine.restore(hooks, params, found), pretrained.Origin(words)
        # Other classes: another head. What a model cannot make fit itself is taken over as far as shapes agree.
        fitting = hooks.inherit(found, workspace.start.classes, params)
        if fitting is not None:
            return engine.restore(hooks, params, fitting), pretrained.Origin(f"{words}; the classes are others")
        network, taken = engine.take_over(engine.build(hooks, params, workspace.recipe().seed), found)
        return network, pretrained.Origin(f"{words}, {taken} of {len(found)} tensors: the classes are others")
    network = engine.build(hooks, params, workspace.recipe().seed)
    return pretrained.start_from_pretrained(workspace, engine, hooks, network)


def trained_network(workspace: Workspace) -> Any:
    """The network as the stage `train` left it."""
    weights = load_weights(workspace.folder("train") / WEIGHTS)
    return engine_of(workspace.spec).restore(hooks_of(workspace.spec), workspace.params, weights)
