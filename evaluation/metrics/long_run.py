"""How much a mean varies when neighbours are alike."""

import math

import numpy as np

from serving.compiled import Floats


def long_run_variance(values: Floats, lags: int | None = None) -> float:
    """Return the variance of the mean of `values` times their number, autocorrelation included.

    R(0) + 2 sum_{k <= lags} (1 - k / (lags + 1)) R(k), R the autocovariances: never negative.

    Parameters
    ----------
    values : float64 (T,)
        Finite, at least one.
    lags : int, optional
        By default chosen from the data (Newey and West 1994); 0 gives the plain variance.

    References
    ----------
    Newey and West (1987), A simple positive semi-definite covariance matrix; Newey and West (1994),
    Automatic lag selection, Bartlett kernel without prewhitening.
    """
    n = values.size
    centred = values - np.mean(values)
    lags = min(_automatic_lags(centred) if lags is None else lags, n - 1)
    weights = 1.0 - np.arange(1, lags + 1) / (lags + 1)
    tail = np.array([centred[k:] @ centred[: n - k] for k in range(1, lags + 1)])
    return float(centred @ centred + 2.0 * np.sum(weights * tail)) / n


def _automatic_lags(centred: Floats) -> int:
    n: int = centred.size
    pilot = min(math.floor(4.0 * math.pow(n / 100.0, 2.0 / 9.0)), n - 1)
    covariance = [float(centred[k:] @ centred[: n - k]) for k in range(pilot + 1)]
    spectrum = covariance[0] + 2.0 * sum(covariance[1:])
    slope = 2.0 * sum(k * covariance[k] for k in range(1, pilot + 1))
    if spectrum == 0.0:
        return pilot
    gamma = 1.1447 * math.pow((slope / spectrum) ** 2, 1.0 / 3.0)
    return min(math.floor(gamma * math.pow(n, 1.0 / 3.0)), n - 1)
