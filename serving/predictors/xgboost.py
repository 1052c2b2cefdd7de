"""A gradient-boosted tree ensemble, read from XGBoost's UBJ."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import xgboost

from serving.observations import Observations

BOOSTER_FILE = "booster.ubj"


class XGBoostPredictor:
    """An XGBoost booster of objective `multi:softprob` with the classes down, flat, up."""

    context_bars = 1

    def __init__(self, booster: xgboost.Booster) -> None:
        self.booster = booster

    def predict_proba(self, observations: Observations) -> npt.NDArray[np.float64]:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN features take the trees' default branch."""
        rows = observations.asked
        if rows.shape[0] == 0:
            return np.empty((0, 3))
        proba = np.asarray(self.booster.inplace_predict(rows), dtype=np.float64)
        total: npt.NDArray[np.float64] = proba.sum(axis=1, keepdims=True)
        return proba / total

    def save(self, folder: Path) -> None:
        """Write `booster.ubj`."""
        self.booster.save_model(folder / BOOSTER_FILE)


def load(folder: Path) -> XGBoostPredictor:
    """Read `booster.ubj` from `folder`; ValueError if it is missing or damaged."""
    # One thread: an hour has a row a symbol, and waking a second thread costs more than it saves.
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(folder / BOOSTER_FILE)
    except xgboost.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{folder / BOOSTER_FILE} is not a readable booster: {reason}") from None
    return XGBoostPredictor(booster)
