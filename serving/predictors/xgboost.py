"""A gradient-boosted tree ensemble, read from XGBoost's UBJ."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.seals import read_sealed, write_seal
from serving.predictors.threads import threads_for

if TYPE_CHECKING:
    import xgboost

BOOSTER_FILE = "booster.ubj"


class XGBoostPredictor:
    """An XGBoost booster of objective `multi:softprob` with the classes down, flat, up.

    Parameters
    ----------
    booster : xgboost.Booster
    threads : int
        Threads for many rows; 0 means all cores. The answer does not depend on it.
    """

    context_bars = 1

    def __init__(self, booster: "xgboost.Booster", threads: int = 0) -> None:
        self.booster = booster
        self.threads = threads

    def predict_proba(self, observations: Observations) -> npt.NDArray[np.float64]:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN features take the trees' default branch."""
        rows = observations.asked
        if rows.shape[0] == 0:
            return np.empty((0, 3))
        self.booster.set_param({"nthread": threads_for(len(rows), self.threads)})
        proba = np.asarray(self.booster.inplace_predict(rows), dtype=np.float64)
        total: npt.NDArray[np.float64] = proba.sum(axis=1, keepdims=True)
        return proba / total

    def save(self, folder: Path) -> None:
        """Write `booster.ubj` and its hash, `booster.sha256`."""
        self.booster.save_model(folder / BOOSTER_FILE)
        write_seal(folder / BOOSTER_FILE)


def load(folder: Path) -> XGBoostPredictor:
    """Read `booster.ubj` from `folder`; ValueError if it is missing or damaged."""
    content = read_sealed(folder / BOOSTER_FILE)
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(content))
    return XGBoostPredictor(booster)
