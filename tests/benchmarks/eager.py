"""A version in the framework that trained it, not exported."""

from __future__ import annotations

from registry.core.runtime import default_threads
from registry.versions.bundle import WEIGHTS, Bundle
from registry.versions.predictor import Predictor


def eager(bundle: Bundle) -> Predictor:
    """The bundle's predictor with its network in torch or Keras, not exported."""
    from training.engines.select import engine_of, hooks_of
    from training.workspace.checkpoint import load_weights

    predictor = Predictor(bundle)
    engine, hooks = engine_of(predictor.spec), hooks_of(predictor.spec)
    engine.use_threads(default_threads())
    params = bundle.manifest.training["params"]
    network = engine.restore(hooks, params, load_weights(bundle.path / WEIGHTS))
    predictor._network = engine.session(hooks, network)  # type: ignore[assignment]
    return predictor
