"""Reward over risk, from the returns of the bars."""

import math

import numpy as np

from evaluation.metrics.returns import deviation, ratio
from serving.compiled import Floats


def sharpe(returns: Floats, bars_per_year: float) -> float:
    """Return the annual Sharpe ratio mean(r) / std(r, ddof=1) sqrt(bars_per_year), risk-free rate 0.

    NaN below two bars and where all returns are equal.

    References
    ----------
    Sharpe (1994), The Sharpe ratio, Journal of Portfolio Management 21(1).
    """
    if returns.size < 2:
        return math.nan
    return ratio(float(np.mean(returns)) * math.sqrt(bars_per_year), deviation(returns))


def sortino(returns: Floats, bars_per_year: float) -> float:
    """Return mean(r) / sqrt(mean(min(r, 0)^2)) sqrt(bars_per_year), target 0; NaN without a losing bar.

    References
    ----------
    Sortino and Price (1994): the downside deviation is over all bars, not only the losing ones.
    """
    if not returns.size:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return ratio(float(np.mean(returns)) * math.sqrt(bars_per_year), downside)


def omega(returns: Floats, threshold: float = 0.0) -> float:
    """Return sum(max(r - threshold, 0)) / sum(max(threshold - r, 0)); NaN where nothing fell below.

    Parameters
    ----------
    returns : float64 (T,)
    threshold : float
        Return of a bar that counts as neither gain nor loss.

    References
    ----------
    Keating and Shadwick (2002), A universal performance measure.
    """
    beyond = returns - threshold
    return ratio(float(np.maximum(beyond, 0.0).sum()), float(np.maximum(-beyond, 0.0).sum()))


def gain_to_pain(returns: Floats) -> float:
    """Return sum(r) / sum(max(-r, 0)); NaN where nothing was lost.

    Of the same returns it is omega - 1. Schwager takes calendar months, which is what the tear sheet
    shows; what a bar-by-bar value adds is comparability between records shorter than a month.

    References
    ----------
    Schwager (2012), Hedge fund market wizards, appendix A.
    """
    return ratio(float(returns.sum()), float(np.maximum(-returns, 0.0).sum()))
