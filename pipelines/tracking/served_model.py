"""The model as MLflow serves it: run by MLflow as *model from code*, so nothing is pickled.

The scorer's files lie beside it as the artifact `scorer`.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from serving.observations import Observations
from serving.scorer import Scorer


class ServedModel(PythonModel):
    """Features in, scores out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the scorer, refusing files that are not the ones that were saved."""
        self.scorer = Scorer.load(Path(context.artifacts["scorer"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the score columns of every row of features, each without a past; NaN means missing."""
        rows = model_input[list(self.scorer.feature_names)].to_numpy(dtype="float32")
        return pd.DataFrame(self.scorer.score(Observations.alone(rows)))


mlflow.models.set_model(ServedModel())
