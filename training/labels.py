"""What a model learns to foresee: the outcome of entering at the next bar's open.

A label of the bar known at `t` looks only *forward*: entry at the open of the bar after `t`, exit
at the first barrier or at the close of the last bar of the horizon. It is known at `label_end`
and not one bar earlier; splits purge by that instant. A label is null, never guessed, where

- the entry bar is missing, or more than 5 % of the horizon's bars are,
- the horizon ends after `end` (so that early finishers are not over-represented at the edge), or
- the trailing volatility that scales the barriers is not known or zero.
"""

from datetime import datetime, timedelta
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from training.config import LabelConfig

Floats = npt.NDArray[np.float64]

MAX_MISSING_FRACTION = 0.05
"""Share of a window's bars that may be missing before its value is null."""

LABEL_SCHEMA: dict[str, pl.DataType] = {
    "venue": pl.String(),
    "symbol": pl.String(),
    "known_at": pl.Datetime("us", "UTC"),
    "label": pl.Int8(),
    "realised_return": pl.Float64(),
    "label_end": pl.Datetime("us", "UTC"),
    "volatility": pl.Float64(),
}


def label_bars(
    bars: pl.DataFrame, config: LabelConfig, *, timeframe: timedelta, end: datetime
) -> pl.DataFrame:
    """Label every row of `bars` with what followed it, as far as that is known at `end`.

    Parameters
    ----------
    bars : polars.DataFrame
        Rows of the bars contract, any number of symbols; gaps are gaps in `known_at`.
    config : LabelConfig
        Kind, horizon, barriers and the window of the volatility that scales them.
    timeframe : timedelta
        Length of one bar.
    end : datetime
        The `as_of` of the caller: later bars are ignored and labels that end later are null.

    Returns
    -------
    polars.DataFrame
        The rows of `bars` up to `end`, sorted by key, with `label` in {-1, 0, 1},
        `realised_return` [log return from entry to exit], `label_end` [UTC], null together; and
        `volatility` [log return per bar], known at `known_at`, null where its window is not valid.

    Raises
    ------
    ValueError
        If a bar is off the grid of its symbol.

    Notes
    -----
    The barriers are symmetric in log price: `entry * exp(+take_profit * s)` and
    `entry * exp(-stop_loss * s)` with `s = volatility * sqrt(horizon_bars)` (Lopez de Prado,
    *Advances in Financial Machine Learning*, ch. 3). Where one bar touches both, the stop is
    taken to be first: the bar does not say, and the pessimist is rarely surprised. A bar that opens
    beyond a barrier exits at its open.
    """
    parts = [
        _label_symbol(group, config, timeframe, end)
        for group in bars.filter(pl.col("known_at") <= end)
        .sort("venue", "symbol", "known_at")
        .partition_by("venue", "symbol", maintain_order=True)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=LABEL_SCHEMA)


def _label_symbol(
    bars: pl.DataFrame, config: LabelConfig, timeframe: timedelta, end: datetime
) -> pl.DataFrame:
    step = timeframe // timedelta(microseconds=1)
    known_at = bars["known_at"].dt.timestamp("us").to_numpy()
    offset = known_at - known_at[0]
    position, off_grid = offset // step, offset % step
    if off_grid.any():
        raise ValueError(
            f"{bars['symbol'][0]}: bar known at {bars['known_at'][int(off_grid.argmax())]} is off "
            f"the {timeframe} grid that starts at {bars['known_at'][0]}; label one timeframe at a time"
        )
    length = (int(end.timestamp() * 1_000_000) - int(known_at[0])) // step + 1
    opens, highs, lows, closes = (
        _dense(bars[name], position, length) for name in ("open", "high", "low", "close")
    )
    sigma = trailing_volatility(closes, config.volatility_window)
    if config.kind == "triple_barrier":
        label, realised, ends = triple_barrier(
            opens,
            highs,
            lows,
            closes,
            sigma,
            config.horizon_bars,
            config.take_profit,
            config.stop_loss,
        )
    else:
        label, realised, ends = fixed_horizon(
            opens, closes, sigma, config.horizon_bars, config.flat_band
        )
    ends = ends[position]
    known = pl.Series(ends >= 0)
    instants = pl.Series(known_at[0] + ends * step).cast(LABEL_SCHEMA["label_end"])
    return bars.select("venue", "symbol", "known_at").with_columns(
        label=_null_where_not(known, pl.Series(label[position])),
        realised_return=_null_where_not(known, pl.Series(realised[position])),
        label_end=_null_where_not(known, instants),
        volatility=pl.Series(sigma[position]).fill_nan(None),
    )


def _dense(values: pl.Series, position: npt.NDArray[np.int64], length: int) -> Floats:
    dense = np.full(length, np.nan)
    dense[position] = values.to_numpy()
    return dense


def _null_where_not(known: pl.Series, values: pl.Series) -> pl.Series:
    return values.set(~known, None)


@numba.njit(cache=True)
def trailing_volatility(closes: Floats, window: int) -> Floats:
    """Return the sample standard deviation of the last `window` one-bar log returns at every bar.

    Parameters
    ----------
    closes : array of float64, shape (n,)
        Dense on the grid; NaN where the bar is missing.
    window : int
        Returns looked back on.

    Returns
    -------
    array of float64, shape (n,)
        [log return per bar]; NaN where more than 5 % of the window's returns are missing, where
        the bar itself is missing, and where prices did not move.
    """
    n = closes.shape[0]
    out = np.full(n, np.nan)
    returns = np.full(n, np.nan)
    for i in range(1, n):
        returns[i] = np.log(closes[i] / closes[i - 1])
    for i in range(window, n):
        if np.isnan(closes[i]):
            continue
        count = 0
        total = 0.0
        for j in range(i - window + 1, i + 1):
            if not np.isnan(returns[j]):
                count += 1
                total += returns[j]
        if window - count > MAX_MISSING_FRACTION * window or count < 2:
            continue
        mean = total / count
        squares = 0.0
        for j in range(i - window + 1, i + 1):
            if not np.isnan(returns[j]):
                squares += (returns[j] - mean) ** 2
        if squares > 0.0:
            out[i] = np.sqrt(squares / (count - 1))
    return out


@numba.njit(cache=True)
def triple_barrier(
    opens: Floats,
    highs: Floats,
    lows: Floats,
    closes: Floats,
    sigma: Floats,
    horizon: int,
    take_profit: float,
    stop_loss: float,
) -> Any:
    """Return (label, realised, end) of entering at the open after every bar of one symbol.

    Parameters
    ----------
    opens, highs, lows, closes : array of float64, shape (n,)
        Dense on the grid up to the last instant known; NaN where the bar is missing.
    sigma : array of float64, shape (n,)
        Trailing volatility [log return per bar], known at each bar.
    horizon : int
        Bars from the entry bar to the time barrier, both included.
    take_profit, stop_loss : float
        Barriers in units of `sigma * sqrt(horizon)`.

    Returns
    -------
    label : array of int8, shape (n,)
        1 take profit, -1 stop, 0 time barrier (also where `end` is -1).
    realised : array of float64, shape (n,)
        Log return from entry to exit, before costs; NaN where `end` is -1.
    end : array of int64, shape (n,)
        Index of the bar at whose close the label is known; -1 where there is no label.
    """
    n = opens.shape[0]
    label = np.zeros(n, dtype=np.int8)
    realised = np.full(n, np.nan)
    end = np.full(n, -1, dtype=np.int64)
    for i in range(n - horizon):
        entry = opens[i + 1]
        if np.isnan(entry) or not sigma[i] > 0.0:
            continue
        missing = 0
        for j in range(i + 1, i + horizon + 1):
            missing += np.isnan(closes[j])
        if missing > MAX_MISSING_FRACTION * horizon:
            continue
        width = sigma[i] * np.sqrt(horizon)
        upper = entry * np.exp(take_profit * width)
        lower = entry * np.exp(-stop_loss * width)
        label[i], leave, end[i] = 0, entry, i + horizon
        for j in range(i + 1, i + horizon + 1):
            if np.isnan(closes[j]):
                continue
            leave = closes[j]
            if lows[j] <= lower and opens[j] < upper:
                label[i], leave, end[i] = -1, min(opens[j], lower), j
                break
            if highs[j] >= upper:
                label[i], leave, end[i] = 1, max(opens[j], upper), j
                break
        realised[i] = np.log(leave / entry)
    return label, realised, end


@numba.njit(cache=True)
def fixed_horizon(
    opens: Floats, closes: Floats, sigma: Floats, horizon: int, flat_band: float
) -> Any:
    """Return (label, realised, end) of holding from the next open to the close `horizon` bars on.

    Parameters
    ----------
    opens, closes, sigma, horizon
        As in `triple_barrier`.
    flat_band : float
        Returns within this many `sigma * sqrt(horizon)` are class 0.

    Returns
    -------
    label, realised, end
        As in `triple_barrier`; a label whose last bar is missing is none, because there is no price
        to leave at.
    """
    n = opens.shape[0]
    label = np.zeros(n, dtype=np.int8)
    realised = np.full(n, np.nan)
    end = np.full(n, -1, dtype=np.int64)
    for i in range(n - horizon):
        entry, leave = opens[i + 1], closes[i + horizon]
        if np.isnan(entry) or np.isnan(leave) or not sigma[i] > 0.0:
            continue
        missing = 0
        for j in range(i + 1, i + horizon + 1):
            missing += np.isnan(closes[j])
        if missing > MAX_MISSING_FRACTION * horizon:
            continue
        realised[i] = np.log(leave / entry)
        band = flat_band * sigma[i] * np.sqrt(horizon)
        label[i] = 1 if realised[i] > band else (-1 if realised[i] < -band else 0)
        end[i] = i + horizon
    return label, realised, end
