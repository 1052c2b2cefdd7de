"""What round trips were worth. A gain is what a trade realised, net of fees and funding [quote]."""

import math

import numpy as np
import polars as pl

from evaluation.metrics.returns import ratio
from serving.compiled import Floats


def win_rate(gains: Floats) -> float:
    """Return the share of gains that are positive; NaN without trades."""
    return ratio(float(np.count_nonzero(gains > 0)), float(gains.size))


def profit_factor(gains: Floats) -> float:
    """Return the sum of gains over the sum of losses; NaN where nothing was lost."""
    return ratio(float(gains[gains > 0].sum()), -float(gains[gains < 0].sum()))


def payoff_ratio(gains: Floats) -> float:
    """Return the mean gain over the mean loss; NaN without a loss or without a gain."""
    return ratio(_mean(gains[gains > 0]), -_mean(gains[gains < 0]))


def expectancy(gains: Floats) -> float:
    """Return the mean gain of a trade [unit of `gains`]: win rate x mean gain - loss rate x mean loss.

    NaN without trades. Of R-multiples it is Tharp's expectancy.

    References
    ----------
    Tharp (1998), Trade your way to financial freedom.
    """
    return _mean(gains)


def trade_metrics(trades: pl.DataFrame) -> dict[str, float]:
    """Return the figures of round trips by name.

    Parameters
    ----------
    trades : polars.DataFrame
        As in `evaluation.backtest.BacktestResult`: realised [quote], return [fraction of what was
        invested], bars_held, r_multiple [initial risks; NaN or null where a trade had none], mae, mfe
        [fraction of the entry price].

    Returns
    -------
    dict
        `trades` is a count; `expectancy` is in quote, `expectancy_r` in initial risks, over the trades
        that had one; `mean_bars_held` in bars; every mean is NaN where there is nothing to average.
    """
    gains = _values(trades, "realised")
    multiples = _values(trades, "r_multiple")
    return {
        "trades": float(trades.height),
        "win_rate": win_rate(gains),
        "profit_factor": profit_factor(gains),
        "payoff_ratio": payoff_ratio(gains),
        "expectancy": expectancy(gains),
        "expectancy_r": expectancy(multiples[np.isfinite(multiples)]),
        "mean_trade_return": _mean(_values(trades, "return")),
        "mean_bars_held": _mean(_values(trades, "bars_held")),
        "mean_mae": _mean(_values(trades, "mae")),
        "mean_mfe": _mean(_values(trades, "mfe")),
    }


def _values(trades: pl.DataFrame, column: str) -> Floats:
    values: Floats = trades.get_column(column).cast(pl.Float64).to_numpy()
    return values


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if values.size else math.nan
