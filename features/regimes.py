"""Regimes: which kind of market it is, and whether it is about to change.

By rule, one of five states: a storm if the volatility of a day is far above its habit of three weeks, a
calm if far below; else a bull or a bear trend if the return of a week is large for its volatility, a range
if it is not. Rules are crude and cannot be overfitted (the two axes, direction and volatility, are
those of Ang and Timmermann 2012). Beside the state stand the bars spent in it and how often it changed.

By model, the filtered probabilities of a three-state hidden Markov model fitted on the past (see
`hidden_states`), the probability that the next bar is in another state, which is the warning of a
transition, and the drift the model expects. Regimes in crypto: Ardia, Bluteau and Rueede 2019.
"""

import numpy as np

from features.grid import Grid, ema_window
from features.hidden_states import filter_states, state_window
from features.kernels import Array
from features.momentum import scaled_return
from features.registry import feature
from features.volatility import vol_z

_FLAG = (0.0, 1.0)
_SIGNED_SHARE = (-1.0, 1.0)
# Deviations of log volatility from its habit, and of the week's return from none.
_UNUSUAL = 1.25
_TRENDING = 1.0
_VOL = (24, 504)
_WEEK = 168
_STATE_BARS = sum(_VOL)
_MEMORY = 168
_CALM, _RANGE, _BULL, _BEAR, _STORM = range(5)
_BLOCK = (168,)


@feature(lookback=_STATE_BARS, bounds=_FLAG)
def regime_bull(grid: Grid) -> Array:
    """One in an upward trend: a week's return above one deviation, volatility near its habit [flag]"""
    return _flag(grid, _BULL)


@feature(lookback=_STATE_BARS, bounds=_FLAG)
def regime_bear(grid: Grid) -> Array:
    """One in a downward trend: a week's return below minus one deviation, volatility near its habit [flag]"""
    return _flag(grid, _BEAR)


@feature(lookback=_STATE_BARS, bounds=_FLAG)
def regime_range(grid: Grid) -> Array:
    """One without a trend, volatility near its habit [flag]"""
    return _flag(grid, _RANGE)


@feature(lookback=_STATE_BARS, bounds=_FLAG)
def regime_storm(grid: Grid) -> Array:
    """One where the volatility of 24 bars is 1.25 deviations above its habit of 504 [flag]"""
    return _flag(grid, _STORM)


@feature(lookback=_STATE_BARS, bounds=_FLAG)
def regime_calm(grid: Grid) -> Array:
    """One where the volatility of 24 bars is 1.25 deviations below its habit of 504 [flag]"""
    return _flag(grid, _CALM)


@feature(lookback=_STATE_BARS + _MEMORY, bounds=_FLAG)
def regime_age(grid: Grid) -> Array:
    """Bars since the state by rule changed, one from 168 on [fraction of 168 bars]"""
    changed, age = grid.highest(grid.once(_changes), _MEMORY)
    return np.where(np.isnan(changed), np.nan, np.where(changed > 0, age / _MEMORY, 1.0))


@feature(windows=(33,), lookback=lambda span: _STATE_BARS + ema_window(span), bounds=_FLAG)
def regime_unrest(grid: Grid, span: int) -> Array:
    """Exponential mean of the changes of the state by rule, span {span} bars [changes per bar]"""
    return grid.ema(grid.once(_changes), span)


@feature(windows=_BLOCK, lookback=state_window, bounds=_FLAG)
def hidden_calm(grid: Grid, block: int) -> Array:
    """Probability of the state of lowest volatility, model fitted on the two blocks of {block} bars before [probability]"""
    return grid.once(_hidden, block)[0]


@feature(windows=_BLOCK, lookback=state_window, bounds=_FLAG)
def hidden_storm(grid: Grid, block: int) -> Array:
    """Probability of the state of highest volatility, model fitted on the two blocks of {block} bars before [probability]"""
    return grid.once(_hidden, block)[1]


@feature(windows=_BLOCK, lookback=state_window, bounds=_FLAG)
def hidden_leaving(grid: Grid, block: int) -> Array:
    """Probability that the next bar is in another hidden state, model fitted on the two blocks of {block} bars before [probability]"""
    return grid.once(_hidden, block)[2]


@feature(windows=_BLOCK, lookback=state_window)
def hidden_drift(grid: Grid, block: int) -> Array:
    """Return expected of the next bar over its deviation, model fitted on the two blocks of {block} bars before [standard deviations]"""
    return grid.once(_hidden, block)[3]


def _hidden(grid: Grid, block: int) -> tuple[Array, Array, Array, Array]:
    present = np.isfinite(grid.close)
    return tuple(  # type: ignore[return-value]
        np.where(present, column, np.nan)
        for column in filter_states(grid.log_return, grid.start, block)
    )


def _state(grid: Grid) -> Array:
    vol, trend = grid.once(vol_z, *_VOL), grid.once(scaled_return, _WEEK)
    state = np.select(
        [vol > _UNUSUAL, vol < -_UNUSUAL, trend > _TRENDING, trend < -_TRENDING],
        [_STORM, _CALM, _BULL, _BEAR],
        _RANGE,
    )
    return np.where(np.isfinite(vol + trend), state, np.nan)


def _flag(grid: Grid, state: int) -> Array:
    now = grid.once(_state)
    return np.where(np.isnan(now), np.nan, now == state)


def _changes(grid: Grid) -> Array:
    now = grid.once(_state)
    before = grid.lag(now, 1)
    return np.where(np.isfinite(now + before), now != before, np.nan)
