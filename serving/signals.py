"""From what a model or a baseline says to the weights it would like, before any limit.

All functions take and return float64 arrays (bars, n); NaN means "nothing is said of this symbol at
this instant": no new order is made and a position keeps its stop. `correlation` and `stress` are left
unknown here: they say nothing of a wish, and `books.strategy_signals` adds them.
"""

from typing import NamedTuple

import numpy as np

from serving.compiled import Flags, Floats
from serving.config import RiskConfig


class Signals(NamedTuple):
    """What is known at each close.

    Attributes
    ----------
    desired : float64 (bars, n)
        Weight asked for [fraction of equity]; negative is short; NaN is "not scored".
    edge : float64 (bars, n)
        Expected log return over the horizon; NaN where the strategy states none.
    variance : float64 (bars, n)
        Variance of the log return over the same horizon.
    sigma : float64 (bars, n)
        Standard deviation of one bar's log return.
    stop_fraction : float64 (bars, n)
        Distance of a new position's stop [fraction of price]; NaN is "none can be set".
    correlation : float64 (bars, n)
        Trailing correlation with Bitcoin (`btc_correlation_168`); NaN counts as 1.
    stress : float64 (bars, n)
        Log ratio of a day's volatility to a week's (`vol_ratio_24_168`); NaN counts as 0.
    """

    desired: Floats
    edge: Floats
    variance: Floats
    sigma: Floats
    stop_fraction: Floats
    correlation: Floats
    stress: Floats


def model_signals(
    expected_return: Floats,
    horizon_bars: Floats | int,
    sigma: Floats,
    atr: Floats,
    risk: RiskConfig,
) -> Signals:
    """Size a model's expectation by fractional Kelly: weight = f mu / (sigma^2 h).

    Parameters
    ----------
    expected_return : float64 (bars, n)
        Expected log return over `horizon_bars`; NaN where the model did not score.
    horizon_bars : float64 (bars, n) or int
        Bars the expectation reaches.
    sigma : float64 (bars, n)
        Standard deviation of one-bar log returns (`realised_vol_72`); where it is NaN or zero the
        bet cannot be sized and the symbol counts as not scored.
    atr : float64 (bars, n)
        Average true range [fraction of close] (`atr_14`).
    risk : RiskConfig

    References
    ----------
    Kelly (1956), A new interpretation of information rate; Thorp (2006) for the continuous form.
    """
    variance = sigma * sigma * horizon_bars
    with np.errstate(divide="ignore", invalid="ignore"):
        desired = risk.kelly_fraction * expected_return / variance
    desired[~np.isfinite(desired)] = np.nan
    unknown = np.full_like(desired, np.nan)
    return Signals(
        desired,
        expected_return.copy(),
        variance,
        sigma,
        atr * risk.stop_atr_multiple,
        unknown,
        unknown,
    )


def ema_crossover_signals(ema_gap: Floats, sigma: Floats, atr: Floats, risk: RiskConfig) -> Signals:
    """Ask for 1/n while the fast average is above the slow one, else for nothing.

    Parameters
    ----------
    ema_gap : float64 (bars, n)
        (EMA24 - EMA96) / close (`ema_gap_24_96`); NaN is "not scored".
    sigma, atr, risk
        As in `model_signals`.
    """
    desired = np.where(ema_gap > 0, 1.0 / ema_gap.shape[1], 0.0)
    desired[np.isnan(ema_gap)] = np.nan
    unknown = np.full_like(desired, np.nan)
    return Signals(desired, unknown, unknown, sigma, atr * risk.stop_atr_multiple, unknown, unknown)


def buy_and_hold_signals(close: Floats, seen: Flags) -> Signals:
    """Ask for 1/n of each symbol at its first bar, once, and never again.

    Parameters
    ----------
    close : float64 (bars, n)
        NaN where the bar is missing.
    seen : bool (n,)
        Symbols that had a bar before row 0 (a book that goes on has asked for those already).
    """
    bars, n = close.shape
    desired = np.full((bars, n), np.nan)
    present = ~np.isnan(close)
    for symbol in np.flatnonzero(present.any(axis=0) & ~seen):
        desired[int(np.argmax(present[:, symbol])), symbol] = 1.0 / n
    unknown = np.full((bars, n), np.nan)
    return Signals(desired, unknown, unknown, unknown, unknown, unknown, unknown)
