"""A gradient-boosted ensemble of oblivious trees, read from CatBoost's cbm."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.seals import read_sealed, write_seal
from serving.predictors.threads import threads_for

if TYPE_CHECKING:
    import catboost

TREES_FILE = "trees.cbm"
ALL_CORES = -1


class CatBoostPredictor:
    """A CatBoost model of loss `MultiClass` with the classes 0 (down), 1 (flat), 2 (up).

    A class that the training rows did not have is not in the model and has probability 0.

    Parameters
    ----------
    trees : catboost.CatBoost
    threads : int
        Threads for many rows; 0 means all cores. The answer does not depend on it.
    """

    context_bars = 1

    def __init__(self, trees: "catboost.CatBoost", threads: int = 0) -> None:
        self.trees = trees
        self._classes = [int(one) for one in trees.classes_]
        self.threads = threads

    def predict_proba(self, observations: Observations) -> npt.NDArray[np.float64]:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN features stand below every split."""
        rows = observations.asked
        if rows.shape[0] == 0:
            return np.empty((0, 3))
        proba = np.zeros((len(rows), 3))
        proba[:, self._classes] = self.trees.predict(
            rows,
            prediction_type="Probability",
            thread_count=threads_for(len(rows), self.threads or ALL_CORES),
        )
        return proba

    def save(self, folder: Path) -> None:
        """Write `trees.cbm` and its hash, `trees.sha256`."""
        self.trees.save_model(str(folder / TREES_FILE), format="cbm")
        write_seal(folder / TREES_FILE)


def load(folder: Path) -> CatBoostPredictor:
    """Read `trees.cbm` from `folder`; ValueError if it is missing or damaged."""
    content = read_sealed(folder / TREES_FILE)
    import catboost

    return CatBoostPredictor(catboost.CatBoost().load_model(blob=content))
