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

    def load_context(self, context: Any) -> None:
        from registry.predictor import Predictor

        self._predict = Predictor.load(Path(context.artifacts["bundle"]))

    # `model_input` has no type on purpose: MLflow would derive a schema from it and refuse plain paths.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        if isinstance(model_input, pd.DataFrame):
            column = "input" if "input" in model_input else model_input.columns[0]
            given = list(model_input[column])
        else:
            given = [model_input] if isinstance(model_input, str | bytes) else list(model_input)
        bodies = [item if isinstance(item, bytes) else Path(item).read_bytes() for item in given]
        return pd.DataFrame([self._predict(body).result.to_json() for body in bodies])


mlflow.models.set_model(VisionloopModel())
