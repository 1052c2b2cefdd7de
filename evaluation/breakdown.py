"""Where a result came from: by symbol, by the way trades ended, by month, by regime."""

import math
from typing import cast

import numpy as np
import polars as pl

from evaluation.metrics import max_drawdown, sharpe, trade_metrics
from serving.compiled import Floats

BULL, BEAR = "bull", "bear"
CALM, NORMAL, STORM = "calm", "normal", "storm"
_GROUPED = (
    "trades",
    "win_rate",
    "profit_factor",
    "payoff_ratio",
    "expectancy",
    "expectancy_r",
    "mean_trade_return",
    "mean_bars_held",
)


def by_symbol(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the round trips of each symbol in figures, the most profitable symbol first.

    Parameters
    ----------
    trades : polars.DataFrame
        As in `evaluation.backtest.BacktestResult`.

    Returns
    -------
    polars.DataFrame
        symbol, realised, fees, funding [quote], and trades, win_rate, profit_factor, payoff_ratio,
        expectancy, expectancy_r, mean_trade_return, mean_bars_held as in `metrics.trade_metrics`;
        null where a figure is not defined.
    """
    return _grouped(trades, ["symbol"])


def by_exit(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the round trips by what closed them, the most profitable way first.

    Columns exit_kind (kind of the last fill), exit_cause (the rule that shaped it, or the signal), and
    those of `by_symbol`.
    """
    return _grouped(trades, ["exit_kind", "exit_cause"])


def monthly_returns(equity: pl.DataFrame, initial_cash: float) -> pl.DataFrame:
    """Return the return of each calendar month (UTC), (months, 3): year, month, return [fraction].

    A bar belongs to the month in which it ran: the one known at 00:00 on the first closes the old
    month. The first and the last month are as long as the record. e[end] / e[end of the month before]
    - 1; NaN after a bankruptcy.

    Parameters
    ----------
    equity : polars.DataFrame
        known_at, equity [quote], sorted.
    initial_cash : float
        Before the first bar.
    """
    ran = pl.col("known_at") - pl.duration(microseconds=1)
    ends = equity.group_by(
        ran.dt.year().cast(pl.Int64).alias("year"),
        ran.dt.month().cast(pl.Int64).alias("month"),
        maintain_order=True,
    ).agg(pl.col("equity").last())
    before = pl.col("equity").shift(1, fill_value=initial_cash)
    return ends.select(
        "year",
        "month",
        pl.when(before > 0)
        .then(pl.col("equity") / before - 1.0)
        .otherwise(math.nan)
        .alias("return"),
    )


def calendar(months: pl.DataFrame) -> pl.DataFrame:
    """Return monthly returns as one row a year: year, "1" ... "12", total (compounded); null = no bars."""
    wide = months.pivot("month", index="year", values="return").sort("year")
    total = months.group_by("year").agg(((pl.col("return") + 1.0).product() - 1.0).alias("total"))
    columns = [
        (pl.col(str(m)) if str(m) in wide.columns else pl.lit(None, pl.Float64)).alias(str(m))
        for m in range(1, 13)
    ]
    return wide.select("year", *columns).join(total, on="year", how="left", maintain_order="left")


def trend_regimes(benchmark: Floats, bars: int) -> pl.Series:
    """Return "bull" or "bear" for each bar, by the sign of the benchmark's return over `bars` before it.

    The label of a bar reads the benchmark up to the close before it, so that no bar chooses its own
    regime; null where `bars` of history are not there yet.

    Parameters
    ----------
    benchmark : float64 (T + 1,)
        Equity of buying and holding, starting with the capital.
    bars : int
        720 for thirty days of hours.
    """
    labels = np.full(benchmark.size - 1, None, dtype=object)
    known = (
        benchmark[bars:-1] > benchmark[: -bars - 1] if benchmark.size > bars + 1 else np.array([])
    )
    labels[bars:] = np.where(known, BULL, BEAR)
    return pl.Series("regime", labels.tolist(), dtype=pl.String)


def stress_regimes(stress: Floats, storm: float) -> pl.Series:
    """Return "calm", "normal" or "storm" for each bar, by the market's stress at the close before it.

    The market's stress is the mean over the symbols that have one (`serving.risk.storm_size` takes an
    unknown one for 0): storm from `storm` on, calm from `-storm` down; null where no symbol has one,
    and for the first bar.

    Parameters
    ----------
    stress : float64 (T, n)
        Log ratio of a day's volatility to a week's at each close, as in `serving.signals.Signals`.
    storm : float
        Above 0, as `serving.limits.Limits.storm_stress`.
    """
    known = np.isfinite(stress)
    count = known.sum(axis=1)
    total = np.where(known, stress, 0.0).sum(axis=1)
    market = np.divide(total, count, out=np.full(count.size, math.nan), where=count > 0)
    before = np.concatenate([[math.nan], market])[: market.size]
    labels = np.where(before >= storm, STORM, np.where(before <= -storm, CALM, NORMAL)).astype(
        object
    )
    labels[np.isnan(before)] = None
    return pl.Series("regime", labels.tolist(), dtype=pl.String)


def by_regime(
    returns: Floats, regimes: pl.Series, bars_per_year: float, benchmark: Floats | None = None
) -> pl.DataFrame:
    """Return what was earned in the bars of each regime, in the order of their names.

    Parameters
    ----------
    returns : float64 (T,)
        Of each bar.
    regimes : polars.Series of String (T,)
        In force during the bar, known before it; null bars are in no regime.
    bars_per_year : float
    benchmark : float64 (T,), optional
        Returns of buying and holding.

    Returns
    -------
    polars.DataFrame
        regime, bars, share [of all bars], total_return (compounded over the regime's bars alone),
        sharpe (annual), max_drawdown (of those bars strung together), buy_and_hold (compounded; null
        without a benchmark).

    Raises
    ------
    ValueError
        If there is not one label a bar.
    """
    if len(regimes) != returns.size:
        raise ValueError(
            f"{len(regimes)} regimes for {returns.size} bars: give one label a bar, null where unknown"
        )
    names = sorted(regimes.drop_nulls().unique().to_list())
    rows = [
        _regime(
            name, (regimes == name).fill_null(False).to_numpy(), returns, bars_per_year, benchmark
        )
        for name in names
    ]
    return pl.DataFrame(rows, schema=_REGIME).fill_nan(None)


_REGIME = {
    "regime": pl.String,
    "bars": pl.Int64,
    "share": pl.Float64,
    "total_return": pl.Float64,
    "sharpe": pl.Float64,
    "max_drawdown": pl.Float64,
    "buy_and_hold": pl.Float64,
}


def _regime(
    name: str,
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]],
    returns: Floats,
    bars_per_year: float,
    benchmark: Floats | None,
) -> dict[str, float | str | None]:
    own = returns[inside]
    curve = np.cumprod(np.concatenate([[1.0], 1.0 + own]))
    return {
        "regime": name,
        "bars": int(own.size),
        "share": own.size / returns.size,
        "total_return": float(curve[-1] - 1.0),
        "sharpe": sharpe(own, bars_per_year),
        "max_drawdown": max_drawdown(curve),
        "buy_and_hold": None
        if benchmark is None
        else float(np.prod(1.0 + benchmark[inside]) - 1.0),
    }


def _grouped(trades: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    rows = []
    for values, group in trades.group_by(keys, maintain_order=True):
        sums = group.select(pl.col("realised", "fees", "funding").sum()).row(0, named=True)
        figures = trade_metrics(group)
        rows.append(
            dict(zip(keys, cast(tuple[str, ...], values), strict=True))
            | sums
            | {name: figures[name] for name in _GROUPED}
        )
    schema = dict.fromkeys(keys, pl.String) | dict.fromkeys(
        ("realised", "fees", "funding", *_GROUPED), pl.Float64
    )
    return (
        pl.DataFrame(rows, schema=schema)
        .with_columns(pl.col("trades").cast(pl.Int64))
        .fill_nan(None)
        .sort("realised", *keys, descending=[True, *[False] * len(keys)])
    )
