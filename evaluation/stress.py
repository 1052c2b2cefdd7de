"""How a strategy would have come through the worst days on record, each from a fresh book."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from evaluation.backtest import backtest
from evaluation.metrics import max_drawdown, total_return
from serving.allocation import history_bars_of
from serving.compiled import Flags, Floats
from serving.market import build_panel

LEAD_IN = timedelta(days=7)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class StressWindow:
    """A stretch of days to be traded: bars with `start < known_at <= end`."""

    name: str
    start: datetime
    end: datetime

    def overlaps(self, other: "StressWindow") -> bool:
        """Say whether a bar lies in both."""
        return self.start < other.end and other.start < self.end


def _days(name: str, first: tuple[int, int, int], days: int) -> StressWindow:
    start = datetime(*first, tzinfo=UTC)
    return StressWindow(name, start, start + timedelta(days=days))


NAMED_CRASHES = (
    _days("Black Thursday 2020-03-12", (2020, 3, 12), 2),
    _days("Liquidations 2021-05-19", (2021, 5, 19), 1),
    _days("Luna 2022-05-07 to 13", (2022, 5, 7), 7),
    _days("FTX 2022-11-06 to 12", (2022, 11, 6), 7),
)


def worst_weeks(
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    count: int = 3,
    apart_from: Sequence[StressWindow] = (),
) -> list[StressWindow]:
    """Return the weeks in which holding all symbols, bought in equal parts, lost most.

    A week ends at any bar. It counts the symbols that have a bar at both its ends.

    Parameters
    ----------
    bars : polars.DataFrame
        As `serving.market.build_panel` takes them.
    timeframe : timedelta
    count : int
        How many at most; there are fewer if no more weeks lost.
    apart_from : sequence of StressWindow
        Weeks that overlap one of these, or a worse week, are passed over.
    """
    panel = build_panel(bars, timeframe=timeframe)
    length = WEEK // timeframe
    returns = _weekly_returns(panel.market.close, length)
    found: list[StressWindow] = []
    for end in np.argsort(returns, kind="stable"):
        if len(found) == count or not returns[end] < 0.0:
            break
        start = panel.known_at(int(end))
        week = StressWindow(f"worst week from {start:%Y-%m-%d}", start, start + WEEK)
        if not any(week.overlaps(other) for other in (*found, *apart_from)):
            found.append(week)
    return found


def stress(
    bars: pl.DataFrame,
    features: pl.DataFrame,
    scores: pl.DataFrame | None,
    windows: Sequence[StressWindow],
    *,
    strategy: str = "model",
    lead_in: timedelta = LEAD_IN,
    **terms: Any,
) -> pl.DataFrame:
    """Trade each window from a fresh book that opened `lead_in` before it.

    Parameters
    ----------
    bars, features, scores, strategy
        As in `backtest`.
    windows : sequence of StressWindow
        One without a bar, or in which a model says nothing, is left out: it was not tested.
    lead_in : timedelta
        The book starts so long before the window, to hold by then what it would have held.
    **terms
        The other parameters of `backtest`, but for `first` and `last`.

    Returns
    -------
    polars.DataFrame
        name, start, end, return [fraction, of the window alone], max_drawdown [at most 0],
        buy_and_hold [return of that strategy over the same bars], fills.

    Raises
    ------
    ValueError
        If the lead-in is shorter than a bar, or as `backtest` says.
    """
    if lead_in < terms["timeframe"]:
        raise ValueError(f"a lead-in of {lead_in} is shorter than a bar of {terms['timeframe']}")
    history = history_bars_of(terms["risk"]) * terms["timeframe"]
    rows = []
    for window in windows:
        if not _speaks(bars if scores is None else scores, window):
            continue
        opened = window.start - lead_in
        shared: dict[str, Any] = {
            **terms,
            "bars": _between(bars, opened - history, window.end),
            "features": _between(features, opened, window.end),
            "first": opened + terms["timeframe"],
            "last": window.end,
        }
        said = None if scores is None else _between(scores, opened, window.end)
        result = backtest(scores=said, strategy=strategy, **shared)
        held = backtest(scores=None, strategy="buy_and_hold", **shared)
        curve = _curve_within(result.equity, window)
        rows.append(
            {
                "name": window.name,
                "start": window.start,
                "end": window.end,
                "return": total_return(curve),
                "max_drawdown": max_drawdown(curve),
                "buy_and_hold": total_return(_curve_within(held.equity, window)),
                "fills": _between(result.fills, window.start, window.end).height,
            }
        )
    return pl.DataFrame(rows, schema=STRESS_SCHEMA)


STRESS_SCHEMA: dict[str, pl.DataType] = {
    "name": pl.String(),
    "start": pl.Datetime("us", "UTC"),
    "end": pl.Datetime("us", "UTC"),
    "return": pl.Float64(),
    "max_drawdown": pl.Float64(),
    "buy_and_hold": pl.Float64(),
    "fills": pl.Int64(),
}


def _weekly_returns(close: Floats, length: int) -> Floats:
    """Return the equal-weight return of the week after each row, float64 (bars - length,)."""
    if close.shape[0] <= length:
        return np.empty(0)
    change = close[length:] / close[:-length] - 1.0
    known: Flags = ~np.isnan(change)
    counted = known.sum(axis=1)
    total = np.where(known, change, 0.0).sum(axis=1)
    returns: Floats = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    return returns


def _between(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    return frame.filter((pl.col("known_at") > start) & (pl.col("known_at") <= end))


def _speaks(frame: pl.DataFrame, window: StressWindow) -> bool:
    return not _between(frame, window.start, window.end).is_empty()


def _curve_within(equity: pl.DataFrame, window: StressWindow) -> Floats:
    """Return the equity from the last close before the window to its end."""
    kept = (pl.col("known_at") >= window.start) & (pl.col("known_at") <= window.end)
    return equity.filter(kept).get_column("equity").to_numpy()
