"""A gradient-boosted tree ensemble, read from LightGBM's text."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.seals import read_sealed, write_seal
from serving.predictors.threads import threads_for

if TYPE_CHECKING:
    import lightgbm

BOOSTER_FILE = "booster.txt"


class LightGBMPredictor:
    """A LightGBM booster of objective `multiclass` with the classes down, flat, up.

    Parameters
    ----------
    booster : lightgbm.Booster
    threads : int
        Threads for many rows; 0 means all cores. The answer does not depend on it.
    """

    context_bars = 1

    def __init__(self, booster: "lightgbm.Booster", threads: int = 0) -> None:
        self.booster = booster
        self.threads = threads

    def predict_proba(self, observations: Observations) -> npt.NDArray[np.float64]:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN features take the trees' default branch."""
        rows = observations.asked
        if rows.shape[0] == 0:
            return np.empty((0, 3))
        proba: npt.NDArray[np.float64] = np.asarray(
            self.booster.predict(rows, num_threads=threads_for(len(rows), self.threads))
        )
        return proba

    def save(self, folder: Path) -> None:
        """Write `booster.txt` and its hash, `booster.sha256`."""
        (folder / BOOSTER_FILE).write_bytes(self.booster.model_to_string(num_iteration=-1).encode())
        write_seal(folder / BOOSTER_FILE)


def load(folder: Path) -> LightGBMPredictor:
    """Read `booster.txt` from `folder`; ValueError if it is missing or damaged."""
    text = read_sealed(folder / BOOSTER_FILE).decode()
    import lightgbm

    return LightGBMPredictor(lightgbm.Booster(model_str=text))
