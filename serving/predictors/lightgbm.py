"""A gradient-boosted tree ensemble, read from LightGBM's text."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.threads import threads_for

if TYPE_CHECKING:
    import lightgbm

BOOSTER_FILE = "booster.txt"
DIGEST_FILE = "booster.sha256"


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
        text = self.booster.model_to_string(num_iteration=-1).encode()
        (folder / BOOSTER_FILE).write_bytes(text)
        (folder / DIGEST_FILE).write_text(hashlib.sha256(text).hexdigest(), encoding="ascii")


def load(folder: Path) -> LightGBMPredictor:
    """Read `booster.txt` from `folder`; ValueError if it is missing or damaged."""
    import lightgbm

    path = folder / BOOSTER_FILE
    try:
        text, digest = path.read_bytes(), (folder / DIGEST_FILE).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} is not readable: {error}") from None
    # LightGBM takes what is left of a cut file for a smaller model, and dies of a wrong digit.
    if (found := hashlib.sha256(text).hexdigest()) != digest.decode("ascii", "replace"):
        raise ValueError(
            f"{path} has hash {found[:12]}, not the one in {DIGEST_FILE}; save the model anew"
        )
    booster = lightgbm.Booster(model_str=text.decode())
    return LightGBMPredictor(booster)
