"""A multinomial logistic regression as arrays: what replaces NaN, bounds, scale, coefficients."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.arrays import read_arrays, write_arrays

LINE_FILE = "logistic.safetensors"
_VECTORS = ("fill", "low", "high", "mean", "scale", "intercept")
_ARRAYS = {**dict.fromkeys(_VECTORS, (np.float64, 1)), "coefficients": (np.float64, 2)}
_CHUNK = 4_096

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """``softmax(intercept + coefficients @ z)``, ``z = (clip(x, low, high) - mean) / scale``.

    Parameters
    ----------
    fill : array, shape (k,)
        Takes the place of NaN: the median of the training rows, 0 for a column without any value.
    low, high : array, shape (k,)
        Bounds that values are cut to.
    mean, scale : array, shape (k,)
        Of the training rows once filled and cut; the scale of a constant column is 1.
    coefficients : array, shape (3, k)
        Of the standardised features.
    intercept : array, shape (3,)
    """

    fill: Floats
    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    coefficients: Floats
    intercept: Floats


class LogisticPredictor:
    """Class probabilities that are linear in cut and scaled features on the log-odds scale."""

    context_bars = 1

    def __init__(self, line: Line) -> None:
        self.line = line
        self._used = np.flatnonzero((line.coefficients != 0).any(axis=0))

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN counts as the training median."""
        rows = observations.asked
        if rows.shape[1] != self.line.fill.size:
            raise ValueError(
                f"X has {rows.shape[1]} columns; the regression knows {self.line.fill.size}"
            )
        chunks = [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]
        return np.concatenate([np.empty((0, 3)), *map(self._chunk, chunks)])

    def _chunk(self, rows: npt.NDArray[np.float32]) -> Floats:
        line, used = self.line, self._used
        x = rows[:, used].astype(np.float64)
        x = np.where(np.isnan(x), line.fill[used], x)
        z = (np.clip(x, line.low[used], line.high[used]) - line.mean[used]) / line.scale[used]
        # Unlike a matrix product, a sum a row does not depend on how many rows are asked for.
        sums = [np.sum(z * weights[used], axis=1) for weights in line.coefficients]
        score = np.stack(sums, axis=1) + line.intercept
        odds = np.exp(score - score.max(axis=1, keepdims=True))
        proba: Floats = odds / odds.sum(axis=1, keepdims=True)
        return proba

    def save(self, folder: Path) -> None:
        """Write `logistic.safetensors`."""
        write_arrays(folder / LINE_FILE, asdict(self.line))


def load(folder: Path) -> LogisticPredictor:
    """Read `logistic.safetensors` from `folder`; ValueError if it is missing or damaged."""
    path = folder / LINE_FILE
    line = Line(**read_arrays(path, _ARRAYS))
    k = line.fill.size
    vectors = {getattr(line, name).size for name in _VECTORS[:-1]}
    if vectors != {k} or line.coefficients.shape != (3, k) or line.intercept.shape != (3,):
        raise ValueError(f"{path} holds arrays of unequal length; save the model anew")
    if not all(np.isfinite(array).all() for array in asdict(line).values()):
        raise ValueError(f"{path} holds numbers that are not finite; save the model anew")
    return LogisticPredictor(line)
