"""Robust scaling of features for networks, which need numbers of one size and no gaps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

BOUND = 5.0
"""Scaled inputs are clipped to [-BOUND, BOUND]: a crash must not blow a network up."""

_BLOCK = 1024


@dataclass(frozen=True)
class RobustScaling:
    """Median and spread of each feature.

    Parameters
    ----------
    center : array of float32, shape (k,)
        Median of the fit.
    inverse : array of float32, shape (k,)
        1 / spread; 0 for a feature that did not vary in the fit, which is then always 0.
    """

    center: Matrix
    inverse: Matrix

    @classmethod
    def of(cls, X: Matrix) -> "RobustScaling":
        """Fit on rows, shape (n, k); NaN is left out, and a feature of NaN alone does not vary.

        The spread is the interquartile range in units of a normal's, or where it is 0 the standard
        deviation.
        """
        center, spread = np.zeros(X.shape[1], np.float32), np.zeros(X.shape[1], np.float32)
        for j in range(X.shape[1]):
            known = X[~np.isnan(X[:, j]), j]
            if known.size:
                low, center[j], high = np.percentile(known, (25, 50, 75))
                spread[j] = (high - low) / 1.349 or known.std()
        inverse = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        return cls(center, inverse)

    def apply(self, X: Matrix) -> Matrix:
        """Return scaled and clipped rows with one column more: the row's share of missing features.

        Parameters
        ----------
        X : array of float32, shape (n, k)
            NaN means missing and becomes 0, the median.

        Returns
        -------
        array of float32, shape (n, k + 1)
        """
        out = np.empty((X.shape[0], X.shape[1] + 1), np.float32)
        for start in range(0, X.shape[0], _BLOCK):
            self._scale(X[start : start + _BLOCK], out[start : start + _BLOCK])
        return out

    def _scale(self, X: Matrix, out: Matrix) -> None:
        scaled = out[:, :-1]
        np.subtract(X, self.center, out=scaled)
        scaled *= self.inverse
        missing = np.isnan(scaled)
        out[:, -1] = missing.mean(axis=1)
        np.clip(scaled, -BOUND, BOUND, out=scaled)
        np.copyto(scaled, 0, where=missing)
