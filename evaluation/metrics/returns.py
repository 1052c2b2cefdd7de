"""Returns, and how much was held and traded to earn them."""

import math

import numpy as np

from serving.compiled import Counts, Floats
from serving.state import SCALE


def bar_returns(equity: Floats) -> Floats:
    """Return the simple return of each bar: e[t] / e[t-1] - 1, (T,); NaN after a bankruptcy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        returns: Floats = equity[1:] / equity[:-1] - 1.0
    returns[~(equity[:-1] > 0)] = np.nan
    return returns


def total_return(equity: Floats) -> float:
    """Return e[T] / e[0] - 1; NaN for less than one bar."""
    return float(equity[-1] / equity[0] - 1.0) if equity.size > 1 else math.nan


def annual_return(equity: Floats, bars_per_year: float) -> float:
    """Return the compound annual growth rate (e[T] / e[0]) ^ (bars_per_year / T) - 1.

    NaN for less than one bar, a bankruptcy, or a span so short that the power overflows.
    """
    if equity.size < 2 or equity[-1] <= 0:
        return math.nan
    try:
        growth = float(equity[-1] / equity[0])
        return float(growth ** (bars_per_year / (equity.size - 1)) - 1.0)
    except OverflowError:
        return math.nan


def volatility(returns: Floats, bars_per_year: float) -> float:
    """Return the annual standard deviation std(r, ddof=1) sqrt(bars_per_year); NaN below two bars."""
    return deviation(returns) * math.sqrt(bars_per_year)


def deviation(returns: Floats) -> float:
    """Return std(r, ddof=1): exactly 0 where all returns are equal, NaN below two values.

    The mean of equal floats is often not equal to them; what is left (1e-16 of their size) is no risk.
    """
    if returns.size < 2:
        return math.nan
    spread = float(np.std(returns, ddof=1))
    return 0.0 if spread <= 1e-14 * float(np.max(np.abs(returns))) else spread


def turnover(traded: float, equity: Floats, bars_per_year: float) -> float:
    """Return the notional traded a year over the mean equity; buying and selling all once is 2."""
    bars = equity.size - 1
    return ratio(traded * bars_per_year, float(np.mean(equity)) * bars)


def exposure(position_value: Floats, equity: Floats) -> float:
    """Return the mean of position value over equity at the closes; both (T,); NaN after a bankruptcy."""
    return (
        float(np.mean(position_value / equity)) if equity.size and np.all(equity > 0) else math.nan
    )


def amounts(counts: Counts) -> Floats:
    """Return counts of 1e-8 as float64 amounts."""
    result: Floats = counts / SCALE
    return result


def ratio(above: float, below: float) -> float:
    """Return above / below, NaN where `below` is zero or NaN."""
    return above / below if below != 0.0 and not math.isnan(below) else math.nan
