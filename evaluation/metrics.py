"""What a track record was worth. Pure functions; gains are positive, losses negative, fractions of one.

Crypto trades around the clock: annual figures use `bars_per_year` bars (8,760 of an hour), never
252 days. `equity` always starts with the capital before the first bar, so T bars have T + 1 values.
Every function returns NaN where its definition divides by nothing.
"""

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
    """Return e[T] / e[0] - 1."""
    return float(equity[-1] / equity[0] - 1.0) if equity.size > 1 else math.nan


def annual_return(equity: Floats, bars_per_year: float) -> float:
    """Return the compound annual growth rate (e[T] / e[0]) ^ (bars_per_year / T) - 1."""
    if equity.size < 2 or equity[-1] <= 0:
        return math.nan
    try:
        return float((equity[-1] / equity[0]) ** (bars_per_year / (equity.size - 1)) - 1.0)
    except OverflowError:
        return math.nan


def volatility(returns: Floats, bars_per_year: float) -> float:
    """Return the annual standard deviation of bar returns: std(r, ddof=1) sqrt(bars_per_year)."""
    if returns.size < 2:
        return math.nan
    return float(np.std(returns, ddof=1) * math.sqrt(bars_per_year))


def sharpe(returns: Floats, bars_per_year: float) -> float:
    """Return the annual Sharpe ratio mean(r) / std(r, ddof=1) sqrt(bars_per_year), risk-free rate 0.

    References
    ----------
    Sharpe (1994), The Sharpe ratio.
    """
    deviation = float(np.std(returns, ddof=1)) if returns.size > 1 else 0.0
    return (
        _ratio(float(np.mean(returns)) * math.sqrt(bars_per_year), deviation)
        if deviation
        else math.nan
    )


def sortino(returns: Floats, bars_per_year: float) -> float:
    """Return mean(r) / sqrt(mean(min(r, 0)^2)) sqrt(bars_per_year), target 0.

    References
    ----------
    Sortino and Price (1994): the downside deviation is over all bars, not only the losing ones.
    """
    if not returns.size:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return _ratio(float(np.mean(returns)) * math.sqrt(bars_per_year), downside)


def drawdowns(equity: Floats) -> Floats:
    """Return e[t] / max(e[0..t]) - 1, at most zero, (T + 1,)."""
    result: Floats = equity / np.maximum.accumulate(equity) - 1.0
    return result


def max_drawdown(equity: Floats) -> float:
    """Return the deepest drawdown as a negative fraction."""
    return float(np.min(drawdowns(equity))) if equity.size else math.nan


def max_drawdown_bars(equity: Floats) -> int:
    """Return the longest stretch of bars spent below an earlier peak."""
    below = np.flatnonzero(np.append(drawdowns(equity) >= 0.0, True))
    return int(np.max(np.diff(below, prepend=-1)) - 1)


def calmar(equity: Floats, bars_per_year: float) -> float:
    """Return the annual return over the depth of the deepest drawdown (Young 1991, whole span)."""
    return _ratio(annual_return(equity, bars_per_year), -max_drawdown(equity))


def turnover(traded: float, equity: Floats, bars_per_year: float) -> float:
    """Return the notional traded a year over the mean equity; buying and selling all once is 2."""
    bars = equity.size - 1
    return _ratio(traded * bars_per_year, float(np.mean(equity)) * bars)


def exposure(position_value: Floats, equity: Floats) -> float:
    """Return the mean of position value over equity at the closes; both (T,)."""
    return (
        float(np.mean(position_value / equity)) if equity.size and np.all(equity > 0) else math.nan
    )


def win_rate(gains: Floats) -> float:
    """Return the share of realised gains that are positive; `gains` holds one value a sale."""
    return _ratio(float(np.count_nonzero(gains > 0)), float(gains.size))


def profit_factor(gains: Floats) -> float:
    """Return the sum of gains over the sum of losses; NaN where nothing was lost."""
    return _ratio(float(gains[gains > 0].sum()), -float(gains[gains < 0].sum()))


def summarise(
    equity: Floats,
    position_value: Floats,
    gains: Floats,
    *,
    traded: float,
    fees: float,
    fills: int,
    bars_per_year: float,
) -> dict[str, float]:
    """Return all metrics of one track record by name.

    Parameters
    ----------
    equity : float64 (T + 1,)
        Starting with the initial capital.
    position_value : float64 (T,)
        Value of the positions at each close.
    gains : float64 (sales,)
        What each sale realised, after the fees of both sides.
    traded, fees : float
        Sums over the span, quote.
    fills : int
    bars_per_year : float
    """
    returns = bar_returns(equity)
    return {
        "total_return": total_return(equity),
        "annual_return": annual_return(equity, bars_per_year),
        "volatility": volatility(returns, bars_per_year),
        "sharpe": sharpe(returns, bars_per_year),
        "sortino": sortino(returns, bars_per_year),
        "calmar": calmar(equity, bars_per_year),
        "max_drawdown": max_drawdown(equity),
        "max_drawdown_bars": float(max_drawdown_bars(equity)),
        "turnover": turnover(traded, equity, bars_per_year),
        "fees": fees,
        "exposure": exposure(position_value, equity[1:]),
        "win_rate": win_rate(gains),
        "profit_factor": profit_factor(gains),
        "fills": float(fills),
        "trades": float(gains.size),
    }


def amounts(counts: Counts) -> Floats:
    """Return counts of 1e-8 as float64 amounts."""
    result: Floats = counts / SCALE
    return result


def _ratio(above: float, below: float) -> float:
    return above / below if below != 0.0 and not math.isnan(below) else math.nan
