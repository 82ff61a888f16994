"""The stage `compress`: trained weights -> networks to serve, and one table that compares them.

A network trained from scratch is pruned and fine-tuned. A fine-tuned champion is pruned already, so it is only
exported, quantised and measured. The next stage logs to MLflow, so this stage does not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.core import journal
from registry.core.files import new_folder
from registry.core.media import FloatArray
from registry.core.runtime import Engine, Numerics, open_session
from registry.versions.bundle import Score, Variant
from training.engines import loop
from training.engines.select import engine_of, hooks_of
from training.export import choose_variant, latency, onnx_export
from training.stages.networks import trained_network
from training.stages.variants import HISTORY, REPORT, Report
from training.workspace import progress, scoring
from training.workspace.checkpoint import History, save_weights, write_metrics
from training.workspace.course import TrainingListener
from training.workspace.engine import CHANNEL_MULTIPLE, Cost
from training.workspace.intervals import score_with_interval
from training.workspace.workspace import Workspace

STEP = "compress"


@dataclass(frozen=True)
class Candidate:
    """One row to be measured."""

    network: str
    engine: str
    numerics: str
    session: Callable[[FloatArray], Any]
    size_mb: float
    cost: Cost

    @property
    def name(self) -> str:
        return f"{self.network} {self.engine} {self.numerics}"


def compress(workspace: Workspace) -> Report:
    """Makes build/<model>/compress and returns its report.

    Raises:
        NotFound, BundleError, SettingsError, StorageError: nothing is half-written then.
    """
    engine_of(workspace.spec).use_threads(workspace.settings.threads)
    name = workspace.spec.name
    with journal.step(STEP, "Compressing", name, 45), new_folder(workspace.folder(STEP)) as out:
        trained = trained_network(workspace)
        work = _Candidates(workspace, out)
        if workspace.start:
            work.add("fine-tuned", trained)
        else:
            work.add("dense", trained)
            work.add("pruned", work.pruned(trained))
        report = work.report()
        report.write(out / REPORT)
    chosen = report.chosen
    journal.fact(
        STEP,
        f"{chosen.name} serves: {chosen.p50_ms:.1f} ms, {chosen.size_mb:.1f} MB, "
        f"{workspace.spec.metric.title} {chosen.score.value:.4f}",
        name,
        variants=[variant.model_dump() for variant in report.variants],
    )
    return report


class _Candidates:
    """Collects candidates, then scores and times them together."""

    def __init__(self, workspace: Workspace, out: Path) -> None:
        self.workspace, self.out = workspace, out
        self.engine, self.hooks = engine_of(workspace.spec), hooks_of(workspace.spec)
        self.shape = self.hooks.input_shape(workspace.params)
        self.constants = self.hooks.preprocessing(workspace.params)
        self.options = workspace.compression
        self.candidates: list[Candidate] = []
        self.files: dict[str, dict[str, str]] = {}
        self.history: History = []
        self.compression: list[dict[str, Any]] = (
            [dict(entry) for entry in workspace.start.bundle.manifest.compression] if workspace.start else []
        )

    def add(self, network: str, model: Any) -> None:
        """Exports a network and adds a candidate for every engine and numeric type that can serve it."""
        cost = self.engine.cost(model, self.shape)
        slug = network.replace("-", "_")
        onnx = self.engine.to_onnx(self.hooks, model, self.shape, self.out / f"{slug}.onnx")
        ir = onnx_export.to_openvino(onnx, self.out / f"{slug}.xml")
        weights = self.out / f"{slug}.safetensors"
        save_weights(weights, self.engine.weights(model))

        def candidate(path: Path, engine: Engine, numerics: Numerics) -> None:
            session = open_session(path, engine, numerics, self.workspace.settings.threads)
            row = Candidate(network, engine, numerics, session, onnx_export.size_mb(path), cost)
            self.candidates.append(row)
            self.files[row.name] = {"network": path.name, "onnx": onnx.name, "weights": weights.name}

        eager = self.engine.session(self.hooks, model)
        size = weights.stat().st_size / 1e6
        self.candidates.append(Candidate(network, self.engine.name, "f32", eager, size, cost))
        candidate(onnx, "onnxruntime", "f32")
        candidate(ir, "openvino", "f32")
        if latency.has_bf16():
            candidate(ir, "openvino", "bf16")
        if network != "dense":  # the dense network is only compared with, so it is not quantised
            leave = self.hooks.FULL_PRECISION
            int8 = onnx_export.to_int8(ir, self.calibration(), self.out / f"{slug}_int8.xml", leave)
            if latency.survives(int8, self.shape, self.workspace.settings.threads):
                candidate(int8, "openvino", "int8")
            else:
                text = f"{network} openvino int8 is left out: the engine crashes on it on this machine"
                journal.fact(STEP, text, self.workspace.spec.name, alarm=True)

    def calibration(self) -> list[FloatArray]:
        """Inputs of the network, evenly spread over the train cases and within them: float32 [1, C, H, W] each."""
        cases = self.workspace.split("train")
        count = self.options.calibration
        step = max(1, len(cases) // count)
        held = scoring.PreparedCases(self.workspace.spec, cases[::step][:count], self.constants)
        slices = [one.prepared.batch[i : i + 1] for one in held for i in range(len(one.prepared.batch))]
        return slices[:: max(1, len(slices) // count)][:count]

    def pruned(self, dense: Any) -> Any:
        """The network with channels removed, fine-tuned."""
        workspace, engine = self.workspace, self.engine
        smaller = engine.prune(self.hooks, dense, workspace.teaching, workspace.params_with(STEP), self.options)
        before, after = engine.cost(dense, self.shape), engine.cost(smaller.network, self.shape)
        with progress.bar(STEP, "fine-tuning", workspace.spec.name) as bar:
            fitted = loop.fit(
                engine,
                workspace.spec,
                self.hooks,
                smaller.network,
                workspace.teaching,
                workspace.params_with(STEP),
                workspace.recipe(STEP),
                listener=TrainingListener(step=bar),
            )
        self.history = fitted.history
        self.compression.append(
            {
                "method": smaller.method,
                "sparsity": self.options.sparsity,
                "channels_rounded_to": CHANNEL_MULTIPLE,
                "macs": [before.macs, after.macs],
                "parameters": [before.parameters, after.parameters],
                "epochs": fitted.progress.epoch,
                "seconds": round(fitted.progress.elapsed, 2),
            }
        )
        return fitted.model

    def report(self) -> Report:
        workspace = self.workspace
        scores = self.scores()
        times = latency.latencies({c.name: c.session for c in self.candidates}, self.shape, self.options.rounds)
        rows = [
            Variant(
                name=c.name,
                engine=c.engine,
                numerics=c.numerics,
                score=scores[c.name],
                p50_ms=round(times[c.name].p50, 3),
                p95_ms=round(times[c.name].p95, 3),
                size_mb=round(c.size_mb, 3),
                macs=c.cost.macs,
                parameters=c.cost.parameters,
            )
            for c in self.candidates
        ]
        # The first row is the network as it was trained, in its own framework: what loss is counted from.
        variants = choose_variant.choose(workspace.spec, rows, rows[0])
        chosen = next(variant for variant in variants if variant.chosen)
        pruned = not chosen.name.startswith("dense")
        if self.history:
            write_metrics(self.out / HISTORY, self.history)
        compression = self.compression if pruned else []
        if chosen.numerics == "int8":
            compression = [
                *compression,
                {"method": "post-training quantisation (NNCF)", "numerics": "int8", "slices": self.options.calibration},
            ]
        return Report(
            variants=variants,
            machine=latency.machine(workspace.settings.threads),
            compression=tuple(compression),
            git_commit=workspace.git_commit,
            input_shape=self.shape,
            preprocessing=self.constants,
            thresholds=self.hooks.thresholds(workspace.params),
            **self.files[chosen.name],
        )

    def scores(self) -> dict[str, Score]:
        spec = self.workspace.spec
        held = scoring.PreparedCases(spec, self.workspace.split("val"), self.constants)
        groups = [case.group for case in self.workspace.split("val")]
        bootstrap = self.workspace.evaluating.bootstrap
        truths, thresholds = held.truths, self.hooks.thresholds(self.workspace.params)
        found = {}
        with progress.bar(STEP, "comparing", spec.name, "variants") as bar:
            for number, candidate in enumerate(self.candidates, start=1):
                results = scoring.results_of(spec, candidate.session, held, thresholds)
                found[candidate.name] = score_with_interval(spec, results, truths, bootstrap, groups)
                bar(number, len(self.candidates), candidate.name)
        return found
