"""Bars as arrays: paging, aggregation, and what a market offers to the exchanges' dialects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.market_simulator.instruments import Instrument

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FUNDING_INTERVAL = 8 * HOUR

Times = npt.NDArray[np.int64]
Values = npt.NDArray[Any]

OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE_VOLUME, TRADES, TAKER_VOLUME, TAKER_QUOTE = range(9)


@dataclass(frozen=True)
class Bars:
    """Bars of one market, ascending.

    Parameters
    ----------
    open_time : array [n]
        Opening instants [ms since 1970].
    values : array [9, n]
        Rows OPEN, HIGH, LOW, CLOSE [quote], VOLUME [base], QUOTE_VOLUME [quote], TRADES [count],
        TAKER_VOLUME [base], TAKER_QUOTE [quote]. NaN where the venue did not say.
    timeframe : int
        Length of a bar [ms].
    """

    open_time: Times
    values: Values
    timeframe: int

    def __len__(self) -> int:
        return len(self.open_time)

    def take(self, index: Any) -> "Bars":
        """Return the bars at `index` (a slice, a mask or positions)."""
        return Bars(self.open_time[index], self.values[:, index], self.timeframe)

    def followed_by(self, other: "Bars | None") -> "Bars":
        """Return these bars and then `other`'s."""
        if other is None:
            return self
        return Bars(
            np.concatenate([self.open_time, other.open_time]),
            np.concatenate([self.values, other.values], axis=1),
            self.timeframe,
        )


@dataclass(frozen=True)
class Request:
    """What one page asks for: bars with ``first <= open_time <= last``, at most `limit` of them.

    `newest` keeps the last `limit` bars of the range instead of the first. `now` is the instant of
    the simulated clock; nothing later is served. All instants are ms since 1970.
    """

    first: int
    last: int
    limit: int
    newest: bool
    now: int


class Market(Protocol):
    """What a simulated or replayed market offers. Nothing it returns was unknown at `now`."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Every market it ever had, listed yet or not."""
        ...

    def bars(self, instrument: Instrument, timeframe: int, request: Request) -> Bars:
        """Return one page of bars; the bar in progress is included, unfinished."""
        ...

    def funding(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return the instants [ms] and rates [fraction an interval] published up to `now`."""
        ...

    def open_interest(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return hourly instants [ms] and the open interest [base] up to `now`."""
        ...

    def index(self, series: str, now: int) -> tuple[Times, Values]:
        """Return the dates [ms] and values of a daily index, FEAR_GREED, VIX or DXY, out by `now`."""
        ...


def aggregate(bars: Bars, timeframe: int) -> Bars:
    """Return coarser bars; a bar exists where any finer one does.

    Sums of a column with NaN are NaN: a partly unknown volume is unknown.
    """
    if timeframe == bars.timeframe or not len(bars):
        return Bars(bars.open_time, bars.values, timeframe)
    bucket = bars.open_time - bars.open_time % timeframe
    starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
    ends = np.concatenate([starts[1:], [len(bucket)]]) - 1
    values = np.add.reduceat(bars.values, starts, axis=1)
    values[OPEN] = bars.values[OPEN, starts]
    values[HIGH] = np.maximum.reduceat(bars.values[HIGH], starts)
    values[LOW] = np.minimum.reduceat(bars.values[LOW], starts)
    values[CLOSE] = bars.values[CLOSE, ends]
    return Bars(bucket[starts], values, timeframe)


def page(closed: Bars, in_progress: Bars | None, request: Request) -> Bars:
    """Cut the page that `request` asks for out of all bars of a market.

    Parameters
    ----------
    closed : Bars
        Any bars of the market, ascending; those not closed at `request.now` are ignored.
    in_progress : Bars or None
        The unfinished bar at `request.now`, if there is one.
    """
    known = int(np.searchsorted(closed.open_time, request.now - closed.timeframe, side="right"))
    begin = int(np.searchsorted(closed.open_time, request.first, side="left"))
    end = min(known, int(np.searchsorted(closed.open_time, request.last, side="right")))
    begin = min(begin, end)
    if in_progress is not None and not (request.first <= in_progress.open_time[0] <= request.last):
        in_progress = None
    extra = in_progress is not None
    if request.newest:
        begin = max(begin, end - max(0, request.limit - extra))
    elif end - begin >= request.limit:
        end, in_progress = begin + request.limit, None
    return closed.take(slice(begin, end)).followed_by(in_progress)


def flat_bar(open_time: int, price: Any, timeframe: int, like: Values) -> Bars:
    """Return a bar that has just opened at `price`: no range, nothing traded.

    Columns that are NaN in `like` (array [9]) stay NaN.
    """
    values = np.where(np.isnan(like), like, 0).astype(like.dtype)
    values[[OPEN, HIGH, LOW, CLOSE]] = price
    return Bars(np.array([open_time], dtype=np.int64), values.reshape(9, 1), timeframe)
