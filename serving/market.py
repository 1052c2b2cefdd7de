"""Frames of bars turned into the arrays the engine walks, checked at this door."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from serving.compiled import Counts, Flags, Floats
from serving.state import LARGEST, SCALE, to_counts

NEW_DAY, NEW_WEEK, NEW_MONTH = 1, 2, 4
_PRICES = ("open", "high", "low", "close")


class Market(NamedTuple):
    """Bars of n symbols on a full grid of instants; NaN in every column where a bar is missing.

    Attributes
    ----------
    open, high, low, close, volume, funding_rate : float64 (bars, n)
        Prices [quote], volume [base], funding [fraction of the position's value, paid by longs at
        this bar's close; 0 on spot].
    lot : int64 (n,)
        Quantities are multiples of it; counts of 1e-8, at least 1.
    tick : float64 (n,)
        Fill prices are multiples of it; 0 is none.
    minimum_notional : int64 (n,)
        Smallest order, counts of 1e-8 quote.
    contract : bool (n,)
        Whether the symbol is a contract, which can be sold short, and no spot pair.
    calendar : int64 (bars,)
        What begins when the bar closes: `NEW_DAY` (00:00 UTC) + `NEW_WEEK` (of a Monday) +
        `NEW_MONTH` (of the first of a month).
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding_rate: Floats
    lot: Counts
    tick: Floats
    minimum_notional: Counts
    contract: Flags
    calendar: Counts


@dataclass(frozen=True)
class Filters:
    """What the venue accepts of one symbol: lot [base], tick [quote], minimum notional [quote]."""

    lot: float = 0.0
    tick: float = 0.0
    minimum_notional: float = 0.0


NO_FILTERS = Filters()


@dataclass(frozen=True)
class Panel:
    """The market of a span: its symbols in sorted order, its instants, its arrays.

    `first` is the `known_at` of row 0; row t is `first + t * timeframe`, gaps included.
    """

    symbols: tuple[str, ...]
    first: datetime
    bars: int
    timeframe: timedelta
    market: Market

    def known_at(self, row: int) -> datetime:
        """Return the instant of a row."""
        return self.first + row * self.timeframe

    def instants(self) -> pl.Series:
        """Return `known_at` of every row."""
        last = self.known_at(self.bars - 1)
        return pl.datetime_range(
            self.first, last, self.timeframe, time_unit="us", eager=True
        ).alias("known_at")

    def locate(self, frame: pl.DataFrame) -> tuple[Counts, Counts, Counts]:
        """Return (row in `frame`, bar, symbol) of the rows of `frame` that lie on this panel.

        Raises
        ------
        ValueError
            If a row inside the span is off the grid.
        """
        return _locate(frame, self.symbols, self.first, self.bars, self.timeframe)

    def place(self, frame: pl.DataFrame, *columns: str) -> tuple[Floats, ...]:
        """Return columns of a keyed frame as float64 (bars, n) each, NaN where there is no value."""
        rows, bars, symbols = self.locate(frame)
        placed = []
        for column in columns:
            values = np.full((self.bars, len(self.symbols)), np.nan)
            values[bars, symbols] = _floats(frame, column)[rows]
            placed.append(values)
        return tuple(placed)


def build_panel(
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    symbols: Sequence[str] | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
    filters: Mapping[str, Filters] | None = None,
    funding: pl.DataFrame | None = None,
) -> Panel:
    """Return the panel of `bars`, refusing what no market can have said.

    Parameters
    ----------
    bars : polars.DataFrame
        Of the bars contract: symbol, known_at, open, high, low, close, volume; sorted by symbol
        and known_at; one venue. Missing bars are missing rows.
    timeframe : timedelta
        Length of a bar.
    symbols : sequence of str, optional
        The universe; by default the symbols of `bars`.
    first, last : datetime, optional
        `known_at` of the first and last row; by default those of `bars`.
    filters : mapping, optional
        Venue filters by symbol; by default none.
    funding : polars.DataFrame, optional
        symbol, known_at (the instant of payment), funding_rate; sorted by symbol and known_at. A
        payment between two bars is that of the later one; those of one bar add up. By default
        nothing is paid.

    Raises
    ------
    ValueError
        Naming the symbol, the instant and the bound: unknown symbol, two venues, unsorted or
        duplicate bars, off-grid instants, a price that is not positive and finite, crossed high
        and low, negative or missing volume, a funding rate that is not finite.
    """
    _check_venue(bars)
    universe = _check_symbols(bars, symbols)
    columns = {name: _floats(bars, name) for name in (*_PRICES, "volume")}
    _check_order(bars)
    _check_values(bars, columns)
    if bars.is_empty() and (first is None or last is None):
        raise ValueError("bars: no rows and no span; give the first and last instant, or bars")
    first = first or _instant(bars, "min")
    last = last or _instant(bars, "max")
    count = (last - first) // timeframe + 1
    rows, at, symbol = _locate(bars, universe, first, count, timeframe)
    shape = (count, len(universe))

    def spread(values: Floats) -> Floats:
        placed = np.full(shape, np.nan)
        placed[at, symbol] = values[rows]
        return placed

    chosen = [(filters or {}).get(name, NO_FILTERS) for name in universe]
    market = Market(
        open=spread(columns["open"]),
        high=spread(columns["high"]),
        low=spread(columns["low"]),
        close=spread(columns["close"]),
        volume=spread(columns["volume"]),
        funding_rate=_paid(funding, universe, first, count, timeframe),
        lot=np.array([max(to_counts(f.lot), 1) for f in chosen], np.int64),
        tick=np.array([f.tick for f in chosen], np.float64),
        minimum_notional=np.array([to_counts(f.minimum_notional) for f in chosen], np.int64),
        contract=np.array([":" in name for name in universe], np.bool_),
        calendar=calendar_of(first, count, timeframe),
    )
    return Panel(universe, first, count, timeframe, market)


def calendar_of(first: datetime, count: int, timeframe: timedelta) -> Counts:
    """Return `Market.calendar` of `count` bars, the first of them known at `first`."""
    start = np.datetime64(first.astimezone(UTC).replace(tzinfo=None), "us")
    instants = start + np.arange(count) * np.timedelta64(timeframe)
    day = instants.astype("datetime64[D]")
    midnight = instants == day
    # Day 0 of the epoch was a Thursday.
    monday = (day.astype(np.int64) + 3) % 7 == 0
    turn = day == day.astype("datetime64[M]")
    begins: Counts = np.where(midnight, NEW_DAY + monday * NEW_WEEK + turn * NEW_MONTH, 0)
    return begins


def check_capital(panel: Panel, initial_cash: float) -> None:
    """Refuse a capital whose quantities would not fit into counts of 1e-8.

    Raises
    ------
    ValueError
        Naming the symbol and the largest capital it allows.
    """
    prices = panel.market.low
    if not prices.size or np.all(np.isnan(prices)):
        return
    column = int(np.nanargmin(prices) % prices.shape[1])
    lowest = float(np.nanmin(prices))
    bound = lowest * (LARGEST / SCALE / 4)
    if initial_cash > bound:
        raise ValueError(
            f"capital {initial_cash:g} at {panel.symbols[column]}'s price {lowest:g} needs quantities "
            f"beyond counts of 1e-8; use at most {bound:g}"
        )


def _floats(frame: pl.DataFrame, column: str) -> Floats:
    series = frame.get_column(column).cast(pl.Float64)
    return series.fill_null(np.nan).to_numpy().copy()


def _microseconds(frame: pl.DataFrame) -> Counts:
    return frame.get_column("known_at").dt.epoch("us").to_numpy()


def _instant(frame: pl.DataFrame, which: str) -> datetime:
    micro = int(getattr(_microseconds(frame), which)())
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)


def _locate(
    frame: pl.DataFrame,
    universe: tuple[str, ...],
    first: datetime,
    count: int,
    timeframe: timedelta,
) -> tuple[Counts, Counts, Counts]:
    step = timeframe // timedelta(microseconds=1)
    start = (first - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    offset = _microseconds(frame) - start
    symbol = (
        frame.get_column("symbol")
        .cast(pl.Enum(list(universe)), strict=False)
        .to_physical()
        .cast(pl.Int64)
        .fill_null(-1)
        .to_numpy()
    )
    inside = (offset >= 0) & (offset < count * step) & (symbol >= 0)
    if np.any(offset[inside] % step):
        row = int(np.flatnonzero(inside)[np.argmax(offset[inside] % step != 0)])
        raise ValueError(f"{_name(frame, row)}: known_at is off the {timeframe} grid of {first}")
    rows = np.flatnonzero(inside)
    return rows, offset[rows] // step, symbol[rows]


def _paid(
    funding: pl.DataFrame | None,
    universe: tuple[str, ...],
    first: datetime,
    count: int,
    timeframe: timedelta,
) -> Floats:
    """Add every rate to the first bar that is known at or after its payment."""
    rates = np.zeros((count, len(universe)))
    if funding is None:
        return rates
    tick = timedelta(microseconds=1)
    start = (first - datetime(1970, 1, 1, tzinfo=UTC)) // tick
    ahead = pl.Series((start - _microseconds(funding)) % (timeframe // tick))
    placed = funding.with_columns(known_at=pl.col("known_at") + ahead.cast(pl.Duration("us")))
    rows, at, symbol = _locate(placed, universe, first, count, timeframe)
    values = _floats(funding, "funding_rate")[rows]
    if not np.isfinite(values).all():
        row = int(rows[np.argmin(np.isfinite(values))])
        raise ValueError(f"{_name(funding, row)}: the funding rate is not a finite number")
    np.add.at(rates, (at, symbol), values)
    return rates


def _check_venue(bars: pl.DataFrame) -> None:
    if "venue" in bars.columns and (venues := bars.get_column("venue").unique()).len() > 1:
        raise ValueError(
            f"bars of {venues.len()} venues ({', '.join(venues.sort())}); an engine trades one"
        )


def _check_symbols(bars: pl.DataFrame, symbols: Sequence[str] | None) -> tuple[str, ...]:
    present = bars.get_column("symbol").unique().sort().to_list()
    universe = tuple(sorted(set(symbols))) if symbols is not None else tuple(present)
    for name in present:
        if name not in universe:
            near = difflib.get_close_matches(name, universe, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"bars: symbol {name} is not in the universe{hint}")
    return universe


def _check_order(bars: pl.DataFrame) -> None:
    if bars.height < 2:
        return
    instants = _microseconds(bars)
    symbol = bars.get_column("symbol").rle_id().to_numpy()
    if int(symbol[-1]) + 1 != bars.get_column("symbol").n_unique():
        raise ValueError("bars: rows of one symbol are apart; sort by symbol and known_at")
    bad = (np.diff(instants) <= 0) & (np.diff(symbol.astype(np.int64)) == 0)
    if bad.any():
        row = int(np.argmax(bad)) + 1
        raise ValueError(
            f"{_name(bars, row)}: not after the bar before it (unsorted or duplicate); "
            "sort by symbol and known_at"
        )


def _check_values(bars: pl.DataFrame, columns: Mapping[str, Floats]) -> None:
    low, high, volume = columns["low"], columns["high"], columns["volume"]
    for name in _PRICES:
        price = columns[name]
        _refuse(
            bars, ~(np.isfinite(price) & (price > 0)), f"{name} is not a positive number", price
        )
    _refuse(bars, high < low, "high below low", high)
    outside = (np.maximum(columns["open"], columns["close"]) > high) | (
        np.minimum(columns["open"], columns["close"]) < low
    )
    _refuse(bars, outside, "open or close outside low and high", columns["close"])
    _refuse(bars, ~(np.isfinite(volume) & (volume >= 0)), "volume is negative or missing", volume)


def _refuse(
    bars: pl.DataFrame, bad: np.ndarray[tuple[int], np.dtype[np.bool_]], what: str, value: Floats
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{_name(bars, row)}: {what} ({value[row]:g}; {int(bad.sum())} such rows); "
            "a missing bar is a missing row, mend the source"
        )


def _name(frame: pl.DataFrame, row: int) -> str:
    return f"{frame['symbol'][row]} at {frame['known_at'][row]:%Y-%m-%dT%H:%MZ}"
