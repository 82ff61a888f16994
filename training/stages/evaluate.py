"""The stage `evaluate`: the chosen network -> a sealed bundle, scored as it will serve."""

from __future__ import annotations

import datetime
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.contract.spec import ModelSpec
from registry.core import journal
from registry.core.errors import DataError
from registry.core.files import new_folder, write_file
from registry.core.media import Case
from registry.versions import learned
from registry.versions.bundle import (
    ASSETS,
    REFERENCE,
    RUN_DIGEST,
    SAMPLES,
    WEIGHTS,
    Bundle,
    Manifest,
    Parent,
    open_bundle,
    seal,
)
from registry.versions.predictor import Predictor, golden_answer
from training.stages import figures
from training.stages.runs import RunDescription, run_description
from training.stages.tracking import Tracker
from training.stages.variants import HISTORY, REPORT, Report
from training.workspace import progress
from training.workspace.checkpoint import METRICS, SUMMARY, read_metrics
from training.workspace.scoring import Evaluation, decoded, evaluate, representative_cases
from training.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

STEP = "evaluate"
PICTURES = 6


def seal_bundle(workspace: Workspace, *, track: bool = True) -> Bundle:
    """Makes build/<model>/bundle and tells MLflow what came of compression and evaluation.

    Raises:
        StorageError: the disk is full; there is no half bundle.
        MissingService: MLflow does not answer.
    """
    held, summary = workspace.split("test"), _summary(workspace)
    with journal.step(STEP, "Evaluating", workspace.spec.name, 15):
        address, description = workspace.settings.mlflow_address, _about(workspace, summary)
        tracker = Tracker(workspace.folder("train"), description, address, completes=True)
        if track:
            for row in read_metrics(workspace.folder("train") / METRICS):
                tracker.row(row)
            for row in read_metrics(workspace.folder("compress") / HISTORY):
                tracker.row(row, "finetune_")
            tracker.start()
        try:
            with new_folder(workspace.folder("bundle")) as out:
                found = _write(workspace, out, held, summary)
            bundle = open_bundle(workspace.folder("bundle"), verify=False)
            _write_figures(workspace, bundle)
        except BaseException:
            tracker.abandon("FAILED")
            raise
        journal.fact(
            STEP,
            found.score.in_words(workspace.spec.metric.title),
            workspace.spec.name,
            score=found.score.model_dump(),
            slices={name: one.model_dump() for name, one in found.slices.items()},
        )
        if track:
            tracker.close(lambda client, run: _log(client, run, workspace, bundle, found, held))
    return bundle


def _summary(workspace: Workspace) -> dict[str, Any]:
    """What came of the training. Raises DataError when the data is no longer what it learned from."""
    summary: dict[str, Any] = json.loads((workspace.folder("train") / SUMMARY).read_text(encoding="utf-8"))
    if summary["data_hash"] != workspace.data_hash:
        raise DataError(
            f"{workspace.data} is {workspace.data_hash}, and the network was trained on {summary['data_hash']}",
            expected="the data of the training",
            fix=f"train anew: `visionloop run {workspace.spec.name}`, or `dvc repro evaluate@{workspace.spec.name}`",
        )
    return summary


def _about(workspace: Workspace, summary: Mapping[str, Any]) -> RunDescription:
    """The run of the version: all parameters, and the code and data of the training."""
    training = run_description(workspace)
    more = {f"{name}.{k}": v for name in ("compress", "evaluate") for k, v in workspace.sections[name].items()}
    return replace(training, git_commit=summary["git_commit"], params={**training.params, **more})


def _write(workspace: Workspace, out: Path, held: Sequence[Case], summary: Mapping[str, Any]) -> Evaluation:
    report = Report.read(workspace.folder("compress") / REPORT)
    _copy_networks(workspace.folder("compress"), out, report)
    _copy_assets(workspace.spec, out)
    draft = _manifest(workspace, report, summary)
    predictor, options = workspace.predictor(Bundle(out, draft)), workspace.evaluating
    with progress.bar(STEP, "evaluating", workspace.spec.name, "cases") as bar:
        found = evaluate(predictor, held, options.bootstrap, bar)
    _write_reference(out / REFERENCE, found)
    curve = workspace.spec.score.curve([prediction.result for prediction in found.predictions], found.truths)
    if curve is not None:
        curve.write(out)
    learned.write(out, workspace.cases, workspace.start.bundle if workspace.start else None)
    _write_samples(out / SAMPLES, predictor, representative_cases(held, options.samples))
    seal(out, draft.model_copy(update={"score": found.score, "slices": found.slices}))
    predictor.check_golden()
    return found


def _copy_networks(source: Path, out: Path, report: Report) -> None:
    """network.xml/.bin (when OpenVINO serves), network.onnx, weights.safetensors."""
    shutil.copyfile(source / report.onnx, out / "network.onnx")
    shutil.copyfile(source / report.weights, out / WEIGHTS)
    if report.network.endswith(".xml"):
        shutil.copyfile(source / report.network, out / "network.xml")
        shutil.copyfile((source / report.network).with_suffix(".bin"), out / "network.bin")


def _copy_assets(spec: ModelSpec, out: Path) -> None:
    """What inference needs besides the network, e.g. another model's detector."""
    for name, file in spec.inference.assets().items():
        (out / ASSETS).mkdir(exist_ok=True)
        shutil.copyfile(file, out / ASSETS / name)


def _manifest(workspace: Workspace, report: Report, summary: Mapping[str, Any]) -> Manifest:
    """Everything but what evaluation adds."""
    spec, start = workspace.spec, workspace.start
    chosen = report.chosen
    commits = {"train": summary["git_commit"], "compress": report.git_commit, "evaluate": workspace.git_commit}
    made = {k: v for k, v in summary.items() if k not in ("fingerprint", "data_hash", "git_commit")}
    return Manifest(
        model=spec.name,
        task=spec.task,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        classes=workspace.classes,
        engine=chosen.engine,  # type: ignore[arg-type]  # choose() takes serving engines only
        numerics=chosen.numerics,  # type: ignore[arg-type]
        network="network.xml" if report.network.endswith(".xml") else "network.onnx",
        input_shape=report.input_shape,
        preprocessing=report.preprocessing,
        thresholds=report.thresholds,
        metric=spec.metric.name,
        score=chosen.score,
        slices={},
        variants=report.variants,
        machine=report.machine,
        data_hash=summary["data_hash"],
        git_commit=summary["git_commit"],
        parent=Parent(version=start.version, digest=start.bundle.digest) if start else None,
        pretrained=summary["pretrained"],
        compression=report.compression,
        training={"params": workspace.params, "commits": commits, **made},
    )


def _write_reference(path: Path, found: Evaluation) -> None:
    """The drift reference: one row per held-out case, `embedding` as list<float32>."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = found.per_case
    columns: dict[str, Any] = {name: pa.array(table[name].astype(str)) for name in ("case", "origin")}
    for name in table.columns:
        if name == "score" or name.startswith(("image.", "prediction.")):
            columns[name] = pa.array(table[name].astype(float))
    columns["embedding"] = pa.array(list(table["embedding"]), type=pa.list_(pa.float32()))
    pq.write_table(pa.table(columns), path)


def _write_figures(workspace: Workspace, bundle: Bundle) -> None:
    """build/<model>/metrics.json and curves.csv: what `dvc metrics` and `dvc plots` show.

    The curves hold the epochs of training, then those of fine-tuning after pruning, counted on; the metric is the
    validation cases', the figures of metrics.json are the test cases'.
    """
    manifest, metric = bundle.manifest, f"val_{bundle.manifest.metric}"
    write_file(workspace.folder("metrics.json"), json.dumps(_figures(manifest), indent=2) + "\n")
    rows = read_metrics(workspace.folder("train") / METRICS)
    last = int(rows[-1]["epoch"]) if rows else 0
    tuned = [{**row, "epoch": row["epoch"] + last} for row in read_metrics(workspace.folder("compress") / HISTORY)]
    lines = [f"{int(row['epoch'])},{row['loss']},{row[metric]}" for row in [*rows, *tuned]]
    write_file(workspace.folder("curves.csv"), "\n".join(["epoch,loss,metric", *lines]) + "\n")


def _figures(manifest: Manifest) -> dict[str, Any]:
    chosen, score = manifest.chosen, manifest.score
    return {
        manifest.metric: score.model_dump(),
        "latency_ms": {"p50": chosen.p50_ms, "p95": chosen.p95_ms},
        "size_mb": chosen.size_mb,
        "macs": chosen.macs,
        "parameters": chosen.parameters,
        "slices": {name: one.value for name, one in manifest.slices.items()},
    }


def _write_samples(folder: Path, predictor: Predictor, cases: Sequence[Case]) -> None:
    for case in cases:
        sample = folder / case.id
        sample.mkdir(parents=True)
        body = case.input.read_bytes()
        (sample / "input").write_bytes(body)
        answer = json.dumps(golden_answer(predictor(body)), indent=2)
        (sample / "expected.json").write_text(answer + "\n", encoding="utf-8")


def _log(
    client: MlflowClient, run_id: str, workspace: Workspace, bundle: Bundle, found: Evaluation, held: Sequence[Case]
) -> None:
    """The compression table, the final metrics, and predictions as pictures."""
    from mlflow.entities import Metric, RunTag

    spec, manifest, now = workspace.spec, bundle.manifest, int(time.time() * 1000)
    chosen = manifest.chosen
    numbers = {
        manifest.metric: found.score.value,
        f"{manifest.metric}_low": found.score.low,
        f"{manifest.metric}_high": found.score.high,
        "latency_p50_ms": chosen.p50_ms,
        "latency_p95_ms": chosen.p95_ms,
        "size_mb": chosen.size_mb,
        "macs": chosen.macs,
        "parameters": chosen.parameters,
        **{f"slice.{name.replace('=', '.')}": score.value for name, score in found.slices.items()},
    }
    client.log_batch(
        run_id,
        metrics=[Metric(_key(name), float(value), now, 0) for name, value in numbers.items()],
        tags=[RunTag("engine", manifest.engine), RunTag("numerics", manifest.numerics)],
    )
    rows = [_row(variant.model_dump()) for variant in manifest.variants]
    client.log_table(run_id, {k: [row[k] for row in rows] for k in rows[0]}, "compression/variants.json")
    client.log_figure(run_id, figures.variants(manifest.variants, spec.metric.title), "compression/variants.png")
    client.log_dict(run_id, manifest.model_dump(mode="json"), "bundle.json")
    shown = {case.id for case in representative_cases(held, PICTURES)}
    for case, prediction, truth in zip(held, found.predictions, found.truths, strict=True):
        if case.id in shown:
            jpeg = spec.render.picture(decoded(spec, case), prediction.result, truth)
            client.log_image(run_id, figures.pixels(jpeg), artifact_file=f"served/{case.id}.png")
    client.set_tag(run_id, RUN_DIGEST, bundle.digest)  # last: from here on it is this version's run, and no other's


def _row(variant: dict[str, Any]) -> dict[str, Any]:
    score = variant.pop("score")
    return {"name": variant.pop("name"), **{f"score_{k}": v for k, v in score.items()}, **variant}


def _key(name: str) -> str:
    """MLflow takes letters, digits and `_-./ ` in a metric's name."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)
