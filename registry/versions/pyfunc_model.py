"""The file that MLflow runs to load a version (models from code: nothing is pickled).

    model = mlflow.pyfunc.load_model("models:/skin_segmentation@champion")
    model.predict(["scan.nii.gz"])          # a list of files, or a table with a column `input`

The answer is a table: one row per file, the model's JSON answer as columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class VisionloopModel(PythonModel):
    """A bundle behind MLflow's interface; inputs are paths, or the bytes themselves."""

    @staticmethod
    def _inputs(inputs: Any) -> list[Any]:
        if isinstance(inputs, pd.DataFrame):
            return list(inputs["input" if "input" in inputs else inputs.columns[0]])
        return [inputs] if isinstance(inputs, str | bytes) else list(inputs)

    def load_context(self, context: Any) -> None:
        from registry.versions.predictor import Predictor

        self._predict = Predictor.load(Path(context.artifacts["bundle"]))

    # From other type hints MLflow derives a schema, and refuses plain paths.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        inputs = self._inputs(model_input)
        bodies = [item if isinstance(item, bytes) else Path(item).read_bytes() for item in inputs]
        return pd.DataFrame([self._predict(body).result.to_json() for body in bodies])


mlflow.models.set_model(VisionloopModel())
