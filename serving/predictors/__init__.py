"""Predictors: what is left of a model once it is trained. One kind a file, without `training`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.observations import Observations


class Predictor(Protocol):
    """Class probabilities from features."""

    context_bars: int
    """Bars, the row's own included, that a probability may depend on; 1 for a model of rows."""

    def predict_proba(self, observations: Observations) -> npt.NDArray[np.float64]:
        """Return raw (p_down, p_flat, p_up) of the asked rows, shape (n, 3); rows sum to 1.

        Parameters
        ----------
        observations : Observations
            Features in the order of the fit; NaN means missing. Rows older than `context_bars`
            before an asked one change nothing.
        """

    def save(self, folder: Path) -> None:
        """Write the predictor's files into the existing `folder`."""


PREDICTORS = {
    "xgboost": "serving.predictors.xgboost",
    "lightgbm": "serving.predictors.lightgbm",
    "catboost": "serving.predictors.catboost",
    "random_forest": "serving.predictors.random_forest",
    "logistic": "serving.predictors.logistic",
    "tcn": "serving.predictors.tcn",
    "voting": "serving.predictors.voting",
    "stacking": "serving.predictors.stacking",
    "grouped": "serving.predictors.grouped",
}
"""Kind of predictor -> the module that offers `load(folder)`; imported when asked for."""


def load_predictor(kind: str, folder: Path) -> Predictor:
    """Load the predictor of `kind` that was saved in `folder`.

    Raises
    ------
    ValueError
        If the kind is not known or its file is missing or damaged.
    """
    if kind not in PREDICTORS:
        raise ValueError(f"predictor {kind!r} is not known; known are {', '.join(PREDICTORS)}")
    load: Callable[[Path], Predictor] = import_module(PREDICTORS[kind]).load
    return load(folder)
