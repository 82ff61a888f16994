"""Other people's networks for the same task, measured on the same validation cases: rows to compare with, never served.

A model's `network.py` may have `peers(params) -> Sequence[Peer]`: what of them there is on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from registry.core import journal
from registry.core.errors import VisionloopError
from registry.core.media import FloatArray, Prepared
from registry.versions.bundle import Variant
from training.export import latency
from training.workspace import scoring
from training.workspace.workspace import Workspace


class Peer(Protocol):
    """A network as its authors use it.

    Attributes:
        name: one word; `engine`: what runs it.
        shape: of one input, [C, H, W].
        macs, parameters, size_mb: as of a `Variant`.
    """

    name: str
    engine: str
    shape: tuple[int, ...]
    size_mb: float
    macs: int
    parameters: int

    def prepare(self, sample: Any) -> Prepared:
        """A decoded sample -> its own input, with the context that the model's `postprocess` needs."""

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        """Outputs by the names that the model's `postprocess` takes."""


def rows(stage: Workspace, hooks: Any, step: str, rounds: int, bootstrap: int) -> list[Variant]:
    """A row for each peer. What is wrong with one is said, and stops nothing."""
    if not hasattr(hooks, "peers"):
        return []
    try:
        found: Sequence[Peer] = hooks.peers(stage.params)
    except VisionloopError as error:
        journal.fact(step, f"not compared: {error}", stage.spec.name, alarm=True)
        return []
    return [_row(stage, hooks, peer, rounds, bootstrap) for peer in found]


def _row(stage: Workspace, hooks: Any, peer: Peer, rounds: int, bootstrap: int) -> Variant:
    spec, results, truths = stage.spec, [], []
    cases = stage.split("val")
    for case in cases:  # one by one: another network's inputs may be larger than the memory
        sample = spec.inference.decode(case.input.read_bytes(), scoring.MAX_VOXELS)
        truth = spec.score.truth(case.truth)
        held = scoring.DecodedCase(case, sample, peer.prepare(sample), truth)
        results += scoring.run(spec, peer, [held], hooks.thresholds(stage.params))
        truths.append(truth)
    time = latency.latencies({peer.name: peer}, peer.shape, rounds)[peer.name]
    return Variant(
        name=f"{peer.name} {peer.engine} f32",
        engine=peer.engine,
        numerics="f32",
        score=scoring.scored(spec, results, truths, bootstrap, [case.group for case in cases]),
        p50_ms=round(time.p50, 3),
        p95_ms=round(time.p95, 3),
        size_mb=round(peer.size_mb, 3),
        macs=peer.macs,
        parameters=peer.parameters,
    )
