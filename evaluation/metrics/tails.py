"""The shape of the returns: what the bad bars cost, and how far from normal they are."""

import math

import numpy as np

from serving.compiled import Floats

_TAIL = 0.05


def value_at_risk(returns: Floats, tail: float = _TAIL) -> float:
    """Return the loss of a bar that is exceeded in a share `tail` of bars, from the sample itself.

    -quantile(r, tail), interpolated linearly; a loss is positive, a negative value is a gain. NaN
    without bars.

    References
    ----------
    Jorion (1996), Value at risk, historical simulation.
    """
    return -float(np.quantile(returns, tail)) if returns.size else math.nan


def expected_shortfall(returns: Floats, tail: float = _TAIL) -> float:
    """Return the mean loss of the bars at or beyond `value_at_risk` (CVaR); a loss is positive.

    -mean(r[r <= quantile(r, tail)]); NaN without bars.

    References
    ----------
    Rockafellar and Uryasev (2000), Optimization of conditional value-at-risk.
    """
    beyond = returns[returns <= -value_at_risk(returns, tail)]
    return -float(np.mean(beyond)) if beyond.size else math.nan


def tail_ratio(returns: Floats, tail: float = _TAIL) -> float:
    """Return |quantile(r, 1 - tail)| / |quantile(r, tail)|: above one, good bars outgrow bad ones.

    NaN without bars and where the lower quantile is zero. The definition of empyrical (Quantopian).
    """
    if not returns.size:
        return math.nan
    low, high = np.abs(np.quantile(returns, [tail, 1.0 - tail]))
    return float(high / low) if low > 0 else math.nan


def skew(returns: Floats) -> float:
    """Return the third standardised moment m3 / m2^1.5 of the population; NaN where nothing varies."""
    return _standardised_moment(returns, 3)


def kurtosis(returns: Floats) -> float:
    """Return the excess kurtosis m4 / m2^2 - 3 of the population: 0 for a normal, NaN for constants."""
    return _standardised_moment(returns, 4) - 3.0


def _standardised_moment(returns: Floats, order: int) -> float:
    if returns.size < 2:
        return math.nan
    centred = returns - np.mean(returns)
    variance = float(np.mean(centred**2))
    if not variance > (1e-14 * float(np.max(np.abs(returns)))) ** 2:
        return math.nan
    return float(np.mean((centred / math.sqrt(variance)) ** order))
