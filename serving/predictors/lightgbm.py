"""A gradient-boosted tree ensemble, read from LightGBM's text."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.threads import threads_for

if TYPE_CHECKING:
    import lightgbm

BOOSTER_FILE = "booster.txt"
FIRST_LINE = "tree\n"
LAST_LINES = "pandas_categorical:null\n"


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
        """Write `booster.txt`; the same model gives the same bytes."""
        text = self.booster.model_to_string(num_iteration=-1)
        (folder / BOOSTER_FILE).write_text(text, encoding="utf-8", newline="")


def load(folder: Path) -> LightGBMPredictor:
    """Read `booster.txt` from `folder`; ValueError if it is missing or damaged."""
    import lightgbm

    path = folder / BOOSTER_FILE
    try:
        text = path.read_bytes().decode("utf-8")
        # LightGBM takes what is left of a cut file for a smaller model.
        if not (text.startswith(FIRST_LINE) and text.endswith(LAST_LINES)):
            raise ValueError("its first or last line is not one of a LightGBM model")
        booster = lightgbm.Booster(model_str=text)
        if booster.num_model_per_iteration() != len(("down", "flat", "up")):
            raise ValueError("it does not tell three classes apart")
    except (OSError, ValueError, lightgbm.basic.LightGBMError) as error:
        raise ValueError(f"{path} is not a readable booster: {error}") from None
    return LightGBMPredictor(booster)
