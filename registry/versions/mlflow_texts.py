"""A version in MLflow: packages, signature, input example and links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.core.closure import closure_of, project_folder, requirements
from registry.core.runtime import ENGINES
from registry.versions.bundle import Bundle

if TYPE_CHECKING:
    from mlflow.entities import Run


def pyfunc_requirements(model: str, engine: str) -> list[str]:
    """What `mlflow.pyfunc.load_model` needs in its own environment: what the model's serving parts import."""
    parts = (f"registry.models.{model}{part}" for part in ("", ".model"))
    packages = closure_of(("registry.versions.pyfunc_model", *parts), project_folder()).packages
    return requirements(packages - (ENGINES - {engine}))


def example(bundle: Bundle) -> dict[str, Any]:
    """Arguments of `log_model`: a golden sample, and the columns of the answer to it; {} without a golden sample.

    The input's type is open: a path or the bytes of a file, in a list or a table. Raises BundleError.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    from registry.versions.predictor import Predictor

    samples = bundle.samples
    if not samples:
        return {}
    body = (samples[0] / "input").read_bytes()
    answer = Predictor(bundle)(body).result.to_json()
    outputs = Schema([ColSpec(AnyType(), name) for name in answer])
    signature = ModelSignature(inputs=Schema([ColSpec(AnyType())]), outputs=outputs)
    return {"signature": signature, "input_example": pd.DataFrame({"input": [body]})}


def run_page(run: Run) -> str:
    """In MLflow's UI, relative to any of its pages."""
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
