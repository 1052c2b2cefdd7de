"""Real bars from Parquet files, served as a trader at the clock's instant would have seen them.

Layout: ``ohlcv_<timeframe>/<exchange>/<id>.parquet`` and ``funding/<exchange>/<id>.parquet``, with
`exchange` one of binance_spot, binance_perp, upbit_spot and `id` the venue's (BTCUSDT, KRW-BTC).
Daily indices: ``fear_greed/alternative_me_daily.parquet`` (date, value) and ``macro/vix_daily.parquet``,
``macro/dxy_daily.parquet`` (date, close); an index without a file has no values.
Timeframes without a folder are aggregated from the longest stored one that divides them.

The bar in progress is served flat: its own open as open, high, low and close, volume and trades 0
(null where the file has null). Its final values are never used. An aggregated bar in progress adds up
the stored bars that had closed by then and the flat one after them. Gaps stay gaps. A market whose
file ends more than a week before the others of its exchange was delisted at the end of its last bar. A
perpetual with funding rates but no bars is listed, and its klines are empty. There is no open
interest in the files, hence none is served.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.clock import TIMEFRAMES
from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    HIGH,
    HOUR,
    LOW,
    OPEN,
    VOLUME,
    Bars,
    Request,
    Times,
    Values,
    aggregate,
    flat_bar,
    page,
)
from pipelines.market_simulator.clock import MILLISECOND
from pipelines.market_simulator.indices import published, stored_indices
from pipelines.market_simulator.instruments import EXCHANGES, Instrument, instrument_of_id

_REQUIRED = ("open", "high", "low", "close", "volume")
_OPTIONAL = ("quote_volume", "trades", "taker_buy_base", "taker_buy_quote")
_NOTHING = (np.empty(0, dtype=np.int64), np.empty(0))


class ReplayMarket:
    """The bars and funding rates of a folder, in memory.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ConfigError
        If the folder holds no bars, or a file lacks a column or is out of order.
    """

    def __init__(self, folder: Path) -> None:
        self._stored: dict[tuple[str, str], dict[int, Bars]] = {}
        for timeframe, exchange, file in _files(folder):
            bars = _read_bars(file, timeframe)
            if len(bars):
                self._stored.setdefault((exchange, file.stem), {})[timeframe] = bars
        if not self._stored:
            raise ConfigError(
                f"{folder} holds no bars to replay",
                remedy="give a folder with files such as ohlcv_1h/binance_spot/BTCUSDT.parquet",
            )
        self._funding = {
            (exchange, file.stem): _read_funding(file)
            for exchange in EXCHANGES
            for file in sorted((folder / "funding" / exchange).glob("*.parquet"))
        }
        self._indices = stored_indices(folder)
        self._derived: dict[tuple[str, str, int], Bars] = {}
        self.instruments = tuple(self._describe())

    def bars(self, instrument: Instrument, timeframe: int, request: Request) -> Bars:
        """Return one page of bars; see `Market.bars`."""
        stored = self._stored.get((instrument.exchange, instrument.id), {})
        finer = [step for step in stored if timeframe % step == 0]
        if not finer:
            return Bars(_NOTHING[0], np.empty((9, 0)), timeframe)
        source = stored[max(finer)]
        key = (instrument.exchange, instrument.id, timeframe)
        if key not in self._derived:
            self._derived[key] = aggregate(source, timeframe)
        return page(self._derived[key], _in_progress(source, timeframe, request.now), request)

    def funding(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return the funding rates published up to `now`; see `Market.funding`."""
        times, rates = self._funding.get((instrument.exchange, instrument.id), _NOTHING)
        known = int(np.searchsorted(times, now, side="right"))
        return times[:known], rates[:known]

    def open_interest(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return nothing: the files hold no open interest."""
        del instrument, now
        return _NOTHING

    def index(self, series: str, now: int) -> tuple[Times, Values]:
        """Return a daily index as far as it had appeared by `now`; see `Market.index`."""
        return published(series, *self._indices[series], now)

    def _describe(self) -> Iterator[Instrument]:
        spans: dict[tuple[str, str], tuple[int, int | None]] = {}
        for key, series in self._stored.items():
            begins = min(int(bars.open_time[0]) for bars in series.values())
            ends = max(int(bars.open_time[-1]) + bars.timeframe for bars in series.values())
            spans[key] = (begins, ends)
        for exchange in EXCHANGES:
            ends_of = [end for (place, _), (_, end) in spans.items() if place == exchange and end]
            newest = max(ends_of, default=0)
            for key in [key for key in self._funding if key[0] == exchange and key not in spans]:
                times, _ = self._funding[key]
                if len(times):
                    spans[key] = (int(times[0]), None)
            for (place, market_id), (begins, end) in sorted(spans.items()):
                if place == exchange:
                    delisted = end if end is not None and end < newest - 7 * DAY else None
                    yield self._instrument(exchange, market_id, begins, delisted)

    def _instrument(
        self, exchange: str, market_id: str, listed_at: int, delisted_at: int | None
    ) -> Instrument:
        item = instrument_of_id(exchange, market_id, listed_at)
        series = self._stored.get((exchange, market_id))
        if series is not None:
            values = series[min(series, key=lambda step: (step != HOUR, step))].values
            item = replace(
                item,
                price_decimals=_decimals(values[[OPEN, HIGH, LOW, CLOSE]]),
                volume_decimals=_decimals(values[VOLUME]),
            )
        return replace(item, delisted_at=delisted_at)


def _in_progress(source: Bars, timeframe: int, now: int) -> Bars | None:
    begin = now - now % timeframe
    first, last = np.searchsorted(source.open_time, [begin, now + 1]).tolist()
    inside = source.take(slice(first, last))
    if not len(inside):
        return None
    if int(inside.open_time[-1]) + source.timeframe > now:
        final = inside.values[:, -1]
        opening = flat_bar(int(inside.open_time[-1]), final[OPEN], source.timeframe, final)
        inside = inside.take(slice(0, -1)).followed_by(opening)
    return aggregate(inside, timeframe)


def _files(folder: Path) -> Iterator[tuple[int, str, Path]]:
    for name, length in TIMEFRAMES.items():
        for exchange in EXCHANGES:
            for file in sorted((folder / f"ohlcv_{name}" / exchange).glob("*.parquet")):
                yield length // MILLISECOND, exchange, file


def _read_bars(file: Path, timeframe: int) -> Bars:
    frame = pl.read_parquet(file)
    missing = [name for name in ("open_time", *_REQUIRED) if name not in frame.columns]
    if missing:
        raise ConfigError(f"{file} has no column {missing[0]}", remedy="see the replay layout")
    absent = [pl.lit(None, pl.Float64).alias(n) for n in _OPTIONAL if n not in frame.columns]
    columns = frame.with_columns(absent).select(
        pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in (*_REQUIRED, *_OPTIONAL)
    )
    return Bars(_times(frame["open_time"], file), columns.to_numpy().T.copy(), timeframe)


def _read_funding(file: Path) -> tuple[Times, Values]:
    frame = pl.read_parquet(file)
    return _times(frame["funding_time"], file), frame["funding_rate"].to_numpy()


def _times(column: pl.Series, file: Path) -> Times:
    times = column.dt.epoch("ms").to_numpy()
    if (np.diff(times) <= 0).any():
        raise ConfigError(f"{file}: instants are not ascending", remedy="sort it, drop duplicates")
    return times


def _decimals(values: Values) -> int:
    """Return the fewest decimals, at most 8, that write every value exactly."""
    enough = (n for n in range(8) if np.array_equal(np.round(values, n), values))
    return next(enough, 8)
